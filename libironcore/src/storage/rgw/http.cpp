// SPDX-License-Identifier: Apache-2.0
// HTTP by Boost.Beast. Each connection has an io_context of its own, which runs on the caller's thread during a call: asynchronous operations,
// because only those have time-outs, used one after the other.
#include "http.hpp"

#include <openssl/ssl.h>
#include <sys/socket.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <boost/beast/ssl.hpp>
#include <cerrno>
#include <charconv>
#include <mutex>
#include <optional>
#include <variant>
#include <vector>

#include "ironcore/base/text.hpp"

namespace ironcore::storage::rgw {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

namespace {

constexpr std::size_t most_kept = 8;
constexpr std::uint32_t most_header = 16 << 10;
constexpr int most_interim = 4;  // answers `1xx` before the one that counts

Error translated(const Endpoint& endpoint, const char* what, const error_code& code) {
  const std::string context =
      "RADOS gateway " + endpoint.authority + ": " + what + ": " + in_one_line(code.message(), 200);
  if (code == asio::error::operation_aborted)
    return {ErrorCode::cancelled, context + ": a stop was requested: repeat the call, since it may go on"};
  if (code == beast::error::timeout)
    return {ErrorCode::timeout,
            context + ": it hangs, or its cluster is full or down: see `ceph -s`, then repeat the call"};
  if (code.category() == asio::error::get_ssl_category())
    return {ErrorCode::forbidden,
            context + ": see that its certificate is good for this host, and give the certificate of who signed it"};
  if (code.category() == http::make_error_code(http::error::end_of_stream).category() &&
      code != http::error::end_of_stream && code != http::error::partial_message)
    return {ErrorCode::corrupt, context + ": see that the endpoint is a RADOS gateway's"};
  return {ErrorCode::unavailable, context + ": see that it runs and can be reached, then repeat the call"};
}

}  // namespace

Result<Endpoint> Endpoint::parse(std::string_view text) {
  const auto invalid = [&] {
    return Error(ErrorCode::invalid,
                 "the endpoint " + in_quotes(text) + " must be like http://host:port or https://host:port");
  };
  Endpoint out;
  if (text.starts_with("https://")) {
    out.is_secure = true;
    text.remove_prefix(8);
  } else if (text.starts_with("http://")) {
    text.remove_prefix(7);
  } else {
    return invalid();
  }
  if (text.ends_with('/')) text.remove_suffix(1);
  out.authority = text;
  std::string_view host = text;
  std::string_view port = out.is_secure ? "443" : "80";
  const std::size_t bracket = text.find(']');
  if (const std::size_t colon = text.rfind(':');
      colon != std::string_view::npos && (bracket == std::string_view::npos || bracket < colon)) {
    host = text.substr(0, colon);
    port = text.substr(colon + 1);
  }
  std::uint16_t number = 0;
  const auto [stop, bad] = std::from_chars(port.data(), port.data() + port.size(), number);
  if (bad != std::errc() || stop != port.data() + port.size() || number == 0) return invalid();
  if (host.starts_with('[') && host.ends_with(']')) {
    host = host.substr(1, host.size() - 2);
    if (host.find(':') == std::string_view::npos ||
        host.find_first_not_of("0123456789abcdefABCDEF:.") != std::string_view::npos)
      return invalid();
  } else if (host.empty() || host.size() > 253 ||
             host.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-.") !=
                 std::string_view::npos) {
    return invalid();
  }
  out.host = host;
  out.port = port;
  return out;
}

struct HttpClient::Shared {
  std::optional<asio::ssl::context> tls;
  std::mutex mutex;
  std::vector<std::unique_ptr<Connection>> kept;
};

class HttpClient::Connection {
 public:
  using Secure = beast::ssl_stream<beast::tcp_stream>;

  explicit Connection(Shared& shared) {
    if (shared.tls) {
      stream_.emplace<Secure>(context_, *shared.tls);
    } else {
      stream_.emplace<beast::tcp_stream>(context_);
    }
  }

  Result<void> open(const Endpoint& endpoint, Duration patience, const std::stop_token& stop) {
    error_code failure;
    const auto found = tcp::resolver(context_).resolve(endpoint.host, endpoint.port, failure);
    if (failure) return translated(endpoint, "look up", failure);
    failure = run(patience, stop, [&](auto done) {
      lowest().async_connect(found, [done](error_code code, const tcp::endpoint&) { done(code); });
    });
    if (failure) return translated(endpoint, "connect", failure);
    error_code ignored;
    static_cast<void>(lowest().socket().set_option(tcp::no_delay(true), ignored));
    auto* secure = std::get_if<Secure>(&stream_);
    if (secure == nullptr) return {};
    error_code is_name;
    static_cast<void>(asio::ip::make_address(endpoint.host, is_name));
    // An address has no place in the extension (RFC 6066 §3).
    if (is_name && SSL_set_tlsext_host_name(secure->native_handle(), endpoint.host.c_str()) != 1)
      return Error(ErrorCode::exhausted, "no memory for TLS");
    secure->set_verify_callback(asio::ssl::host_name_verification(endpoint.host));
    failure = run(patience, stop, [&](auto done) { secure->async_handshake(asio::ssl::stream_base::client, done); });
    if (failure) return translated(endpoint, "agree on TLS", failure);
    return {};
  }

  /// `is_stale` tells that the server had closed before it took anything.
  Result<Answer> exchange(const Endpoint& endpoint, const Request& request, Duration patience,
                          const std::stop_token& stop, bool& is_stale) {
    std::string target = encoded_path(request.path);
    if (!request.query.empty()) target += '?' + encoded_query(request);
    http::request<http::string_body> message;
    message.version(11);
    message.method_string(request.method);
    message.target(target);
    for (const auto& [name, value] : request.headers) message.insert(name, value);
    message.body() = request.body;
    message.content_length(request.body.size());

    error_code failure = run(patience, stop, [&](auto done) {
      on_stream([&](auto& stream) {
        http::async_write(stream, message, [done](error_code code, std::size_t) { done(code); });
      });
    });
    for (int interim = 0;; ++interim) {
      http::response_parser<http::string_body> parser;
      parser.body_limit(most_body);
      parser.header_limit(most_header);
      if (!failure)
        failure = run(patience, stop, [&](auto done) {
          on_stream([&](auto& stream) {
            http::async_read(stream, buffer_, parser, [done](error_code code, std::size_t) { done(code); });
          });
        });
      is_stale = failure && interim == 0 && failure != beast::error::timeout &&
                 failure != asio::error::operation_aborted && !parser.got_some();
      if (failure) return translated(endpoint, "exchange", failure);
      const unsigned status = parser.get().result_int();
      if (status < 100 || status == 101 || (status < 200 && interim == most_interim))
        return Error(ErrorCode::corrupt, "RADOS gateway " + endpoint.authority + ": it answers with status " +
                                             std::to_string(status) +
                                             ", which nobody asked for: see that the endpoint is a RADOS gateway's");
      if (status < 200) continue;
      // What follows the answer is none of any request; and a stop may still have something to do there.
      is_reusable_ = parser.get().keep_alive() && buffer_.size() == 0 && !stop.stop_requested();
      return Answer{.status = status, .body = std::move(parser.get().body())};
    }
  }

  bool is_reusable() const { return is_reusable_; }
  /// Nothing has come since the last answer, not even an end: the next bytes will be of the next answer.
  bool is_quiet() {
    if (auto* secure = std::get_if<Secure>(&stream_)) {
      SSL* tls = secure->native_handle();
      if (SSL_has_pending(tls) == 1 || BIO_ctrl_pending(SSL_get_rbio(tls)) > 0) return false;
    }
    char byte = 0;
    const auto seen = ::recv(lowest().socket().native_handle(), &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return seen < 0 && (errno == EAGAIN || errno == EWOULDBLOCK);
  }

 private:
  beast::tcp_stream& lowest() {
    auto* secure = std::get_if<Secure>(&stream_);
    return secure != nullptr ? secure->next_layer() : std::get<beast::tcp_stream>(stream_);
  }
  template <class Use>
  void on_stream(Use&& use) {
    if (auto* secure = std::get_if<Secure>(&stream_)) {
      use(*secure);
    } else {
      use(std::get<beast::tcp_stream>(stream_));
    }
  }
  /// Starts one operation and does nothing else until it is done: `operation_aborted` after a stop.
  template <class Start>
  error_code run(Duration patience, const std::stop_token& stop, Start&& start) {
    error_code result = asio::error::operation_aborted;
    if (stop.stop_requested()) return result;
    lowest().expires_after(patience);
    start([&result](error_code code) { result = code; });
    context_.restart();
    const std::stop_callback on_stop(stop, [this] { asio::post(context_, [this] { lowest().cancel(); }); });
    context_.run();
    return result;
  }

  asio::io_context context_{1};
  std::variant<std::monostate, beast::tcp_stream, Secure> stream_;
  beast::flat_buffer buffer_{most_body + most_header};
  bool is_reusable_ = false;
};

HttpClient::HttpClient(Endpoint endpoint, Duration connect_patience)
    : endpoint_(std::move(endpoint)), connect_patience_(connect_patience), shared_(std::make_unique<Shared>()) {}

HttpClient::~HttpClient() = default;

Result<std::unique_ptr<HttpClient>> HttpClient::create(Endpoint endpoint, const std::filesystem::path& ca_file,
                                                       Duration connect_patience) {
  std::unique_ptr<HttpClient> out(new HttpClient(std::move(endpoint), connect_patience));
  if (!out->endpoint_.is_secure) return out;
  asio::ssl::context& tls = out->shared_->tls.emplace(asio::ssl::context::tls_client);
  error_code failure;
  static_cast<void>(tls.set_options(
      asio::ssl::context::default_workarounds | asio::ssl::context::no_tlsv1 | asio::ssl::context::no_tlsv1_1,
      failure));
  if (!failure) static_cast<void>(tls.set_verify_mode(asio::ssl::verify_peer, failure));
  if (!failure && ca_file.empty()) static_cast<void>(tls.set_default_verify_paths(failure));
  if (!failure && !ca_file.empty()) static_cast<void>(tls.load_verify_file(ca_file.string(), failure));
  if (failure)
    return Error(ErrorCode::invalid, "certificates for TLS" + (ca_file.empty() ? "" : " in " + ca_file.string()) +
                                         ": " + in_one_line(failure.message(), 200) +
                                         ": give a file of PEM certificates");
  return out;
}

Result<Answer> HttpClient::exchange(const Request& request, Duration patience, const std::stop_token& stop) {
  for (;;) {
    std::unique_ptr<Connection> connection;
    {
      const std::lock_guard lock(shared_->mutex);
      if (!shared_->kept.empty()) {
        connection = std::move(shared_->kept.back());
        shared_->kept.pop_back();
      }
    }
    if (connection && !connection->is_quiet()) continue;
    const bool is_new = !connection;
    if (is_new) {
      connection = std::make_unique<Connection>(*shared_);
      IRONCORE_CHECK(connection->open(endpoint_, connect_patience_, stop));
    }
    bool is_stale = false;
    auto answer = connection->exchange(endpoint_, request, patience, stop, is_stale);
    if (!answer && is_stale && !is_new && request.is_repeatable) continue;  // each turn uses up a kept one
    if (answer && connection->is_reusable()) {
      const std::lock_guard lock(shared_->mutex);
      if (shared_->kept.size() < most_kept) shared_->kept.push_back(std::move(connection));
    }
    return answer;
  }
}

}  // namespace ironcore::storage::rgw
