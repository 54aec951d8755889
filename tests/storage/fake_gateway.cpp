// SPDX-License-Identifier: Apache-2.0
// A scripted server.
#include "fake_gateway.hpp"

#include <linux/sockios.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/ssl.hpp>
#include <boost/asio/write.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <cstdio>
#include <mutex>
#include <optional>
#include <semaphore>
#include <stdexcept>
#include <thread>

namespace ironcore::tests {

namespace asio = boost::asio;
namespace http = boost::beast::http;
using asio::ip::tcp;
using boost::system::error_code;

struct FakeGateway::Server {
  Script script;
  asio::io_context context;
  std::optional<asio::ssl::context> tls;
  tcp::acceptor acceptor{context, tcp::endpoint(asio::ip::address_v4::loopback(), 0)};
  std::string authority = "127.0.0.1:" + std::to_string(acceptor.local_endpoint().port());
  std::atomic<bool> is_over = false;
  std::atomic<int> connections = 0;
  std::atomic<int> requests = 0;
  std::mutex mutex;
  int open = -1;  // the socket of the connection that is served
  std::binary_semaphore may_send_late{0};
  std::binary_semaphore has_sent_late{0};
  std::thread thread;

  template <class Stream>
  void serve(Stream& stream) {
    boost::beast::flat_buffer buffer;
    for (;;) {
      http::request<http::string_body> request;
      error_code failure;
      http::read(stream, buffer, request, failure);
      if (failure) return;
      ++requests;
      const Reply reply = script({std::string(request.method_string()), std::string(request.target()), request.body()});
      asio::write(stream, asio::buffer(reply.bytes), failure);
      if (failure || reply.then == Then::close) return;
      if (!reply.late.empty()) {
        may_send_late.acquire();
        if (!is_over) asio::write(stream, asio::buffer(reply.late), failure);
        wait_until_taken(failure);
        has_sent_late.release();
      }
      char byte = 0;
      if (reply.then == Then::hang) {
        stream.read_some(asio::buffer(&byte, 1), failure);
        return;
      }
    }
  }

  void run() {
    while (!is_over) {
      error_code failure;
      tcp::socket socket(context);
      acceptor.accept(socket, failure);
      if (failure || is_over) continue;
      ++connections;
      socket.set_option(tcp::no_delay(true), failure);
      set_open(socket.native_handle());
      if (tls) {
        asio::ssl::stream<tcp::socket&> stream(socket, *tls);
        stream.handshake(asio::ssl::stream_base::server, failure);
        if (!failure) serve(stream);
      } else {
        serve(socket);
      }
      set_open(-1);
    }
  }
  /// Until the other side has acknowledged everything.
  void wait_until_taken(error_code failure) {
    int left = 0;
    while (!failure && !is_over && ::ioctl(open, SIOCOUTQ, &left) == 0 && left > 0) std::this_thread::yield();
  }
  void set_open(int fd) {
    const std::lock_guard lock(mutex);
    open = fd;
    if (is_over && fd >= 0) ::shutdown(fd, SHUT_RDWR);
  }
};

FakeGateway::FakeGateway(Script script, const std::filesystem::path& certificate)
    : server_(std::make_unique<Server>()) {
  server_->script = std::move(script);
  if (!certificate.empty()) {
    server_->tls.emplace(asio::ssl::context::tls_server);
    server_->tls->use_certificate_file(certificate.string(), asio::ssl::context::pem);
    server_->tls->use_private_key_file(certificate.string(), asio::ssl::context::pem);
  }
  server_->thread = std::thread([this] { server_->run(); });
}

FakeGateway::~FakeGateway() {
  {
    const std::lock_guard lock(server_->mutex);
    server_->is_over = true;
    if (server_->open >= 0) ::shutdown(server_->open, SHUT_RDWR);
  }
  server_->may_send_late.release();
  ::shutdown(server_->acceptor.native_handle(), SHUT_RDWR);
  server_->thread.join();
}

const std::string& FakeGateway::authority() const {
  return server_->authority;
}
int FakeGateway::connections() const {
  return server_->connections;
}
int FakeGateway::requests() const {
  return server_->requests;
}

void FakeGateway::send_late() {
  server_->may_send_late.release();
  server_->has_sent_late.acquire();
}

std::string FakeGateway::http(unsigned status, const std::string& body) {
  return "HTTP/1.1 " + std::to_string(status) + " Said\r\ncontent-length: " + std::to_string(body.size()) + "\r\n\r\n" +
         body;
}

void FakeGateway::make_certificate(const std::filesystem::path& file) {
  const auto require = [](bool holds) {
    if (!holds) throw std::runtime_error("OpenSSL did not make a certificate");
  };
  const std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)> key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const std::unique_ptr<X509, decltype(&X509_free)> certificate(X509_new(), &X509_free);
  require(key && certificate);
  X509* x = certificate.get();
  require(X509_set_version(x, X509_VERSION_3) == 1);
  require(ASN1_INTEGER_set(X509_get_serialNumber(x), 1) == 1);
  require(X509_gmtime_adj(X509_getm_notBefore(x), -86'400) != nullptr);
  require(X509_gmtime_adj(X509_getm_notAfter(x), 86'400) != nullptr);
  X509_NAME* name = X509_get_subject_name(x);
  const unsigned char common[] = "test";
  require(X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC, common, -1, -1, 0) == 1);
  require(X509_set_issuer_name(x, name) == 1);
  require(X509_set_pubkey(x, key.get()) == 1);
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> names(
      X509V3_EXT_conf_nid(nullptr, nullptr, NID_subject_alt_name, "IP:127.0.0.1"), &X509_EXTENSION_free);
  require(names && X509_add_ext(x, names.get(), -1) == 1);
  require(X509_sign(x, key.get(), EVP_sha256()) > 0);
  const std::unique_ptr<std::FILE, decltype(&std::fclose)> out(std::fopen(file.c_str(), "w"), &std::fclose);
  require(out && PEM_write_PrivateKey(out.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) == 1);
  require(PEM_write_X509(out.get(), x) == 1);
}

}  // namespace ironcore::tests
