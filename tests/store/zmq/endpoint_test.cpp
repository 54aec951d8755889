// SPDX-License-Identifier: Apache-2.0
// Endpoints: who may open them, what stands there already, and clear words when nobody answers.
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include <fstream>

#include "ironcore/base/unique_fd.hpp"
#include "remote_fixture.hpp"

using namespace ironcore;
using namespace ironcore::test;

namespace {

struct Local {
  SystemClock clock;
  NullLog log;
  LocalUnderTest local;
  TemporaryDirectory directory;
  std::unique_ptr<zmq::Context> server_context = context();
  std::string path() const { return (directory.path() / "s").string(); }
  Result<std::unique_ptr<zmq::Server>> create(zmq::ServerOptions options) {
    return zmq::Server::create(*server_context, local.store(), std::move(options), clock, log);
  }
};

}  // namespace

TEST_CASE("only the owner may open the socket files, and they go with the server") {
  Local local;
  const auto old_mask = ::umask(0);
  auto server = local.create(quick(local.path()));
  ::umask(old_mask);
  REQUIRE(server);
  CHECK((*server)->ipc_endpoint() == "ipc://" + local.path());
  CHECK((*server)->tcp_endpoint().empty());
  for (const auto* suffix : {"", ".changes", ".streams"}) {
    struct stat info {};
    REQUIRE(::stat((local.path() + suffix).c_str(), &info) == 0);
    CHECK(S_ISSOCK(info.st_mode));
    CHECK((info.st_mode & 07777) == 0600);
  }
  server->reset();
  CHECK(std::filesystem::is_empty(local.directory.path()));
}

TEST_CASE("a path that a live server has is refused, and that server goes on") {
  Remote remote;
  Local local;
  auto second = local.create(quick(remote.path()));
  REQUIRE_FALSE(second);
  CHECK(second.error().code() == ErrorCode::wrong_state);
  CHECK(second.error().message().find("in use by another server (process " + std::to_string(::getpid()) + ")") !=
        std::string::npos);
  must(remote.store(), make(machine("a")));
  CHECK(std::filesystem::exists(remote.path()));
}

TEST_CASE("the socket file of a dead server is replaced") {
  Local local;
  {
    // Bound and closed, as a killed server leaves it.
    UniqueFd fd(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof address.sun_path, "%s", local.path().c_str());
    REQUIRE(::bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0);
  }
  CHECK(std::filesystem::exists(local.path()));
  CHECK(local.create(quick(local.path())));
}

TEST_CASE("a file that is no socket is left alone") {
  Local local;
  std::ofstream(local.path()) << "precious";
  const auto server = local.create(quick(local.path()));
  REQUIRE_FALSE(server);
  CHECK(server.error().code() == ErrorCode::wrong_state);
  CHECK(std::filesystem::file_size(local.path()) == 8);
}

TEST_CASE("paths that cannot be are refused in words") {
  Local local;
  CHECK(local.create(quick("relative")).error().code() == ErrorCode::invalid);
  CHECK(local.create(quick(std::string(96, 'x').replace(0, 1, "/"))).error().code() == ErrorCode::invalid);
  CHECK(local.create({}).error().code() == ErrorCode::invalid);
  CHECK(local.create(quick("/proc/no/such/directory")).error().code() != ErrorCode::internal);
}

TEST_CASE("a tcp port that is taken is refused in words") {
  Local local;
  const auto keys = zmq::make_key_pair().value();
  zmq::ServerOptions options;
  options.tcp = zmq::TcpOptions{.keys = keys, .identities = {}};
  auto first = local.create(options);
  REQUIRE(first);
  const auto endpoint = (*first)->tcp_endpoint();
  options.tcp->port = static_cast<std::uint16_t>(std::stoul(endpoint.substr(endpoint.rfind(':') + 1)));
  Local other;
  auto second = other.create(options);
  REQUIRE_FALSE(second);
  CHECK(second.error().code() == ErrorCode::wrong_state);
  CHECK(second.error().message().find("in use by another server") != std::string::npos);
  SUBCASE("a second server with tcp needs a context of its own") {
    options.tcp->port = 0;
    auto third = local.create(options);
    REQUIRE_FALSE(third);
    CHECK(third.error().code() == ErrorCode::wrong_state);
  }
}

TEST_CASE("connecting where nobody is, is unavailable within its time") {
  SystemClock clock;
  NullLog log;
  TemporaryDirectory directory;
  auto with = context();
  zmq::ClientOptions options;
  options.endpoint = "ipc://" + (directory.path() / "nobody").string();
  options.connect_timeout = std::chrono::milliseconds(50);
  const auto store = zmq::connect(*with, options, clock, log);
  REQUIRE_FALSE(store);
  CHECK(store.error().code() == ErrorCode::unavailable);
  CHECK(store.error().message().find("no server answers at " + options.endpoint) != std::string::npos);
}

TEST_CASE("endpoints and keys that do not fit together are refused") {
  SystemClock clock;
  NullLog log;
  auto with = context();
  const auto keys = zmq::make_key_pair().value();
  const auto code = [&](zmq::ClientOptions options) {
    return code_of(zmq::connect(*with, std::move(options), clock, log));
  };
  CHECK(code({.endpoint = ""}) == ErrorCode::invalid);
  CHECK(code({.endpoint = "ipc://"}) == ErrorCode::invalid);
  CHECK(code({.endpoint = "http://x"}) == ErrorCode::invalid);
  CHECK(code({.endpoint = "tcp://127.0.0.1:1"}) == ErrorCode::invalid);
  CHECK(code({.endpoint = "tcp://127.0.0.1", .keys = zmq::ClientKeys{keys, keys.public_key}}) == ErrorCode::invalid);
  CHECK(code({.endpoint = "ipc:///x", .keys = zmq::ClientKeys{keys, keys.public_key}}) == ErrorCode::invalid);
  CHECK(code({.endpoint = "tcp://127.0.0.1:1", .keys = zmq::ClientKeys{keys, "short"}}) == ErrorCode::invalid);
}

TEST_CASE("key files are private, whole and readable again") {
  TemporaryDirectory directory;
  const auto file = directory.path() / "key.json";
  const auto keys = zmq::make_key_pair().value();
  REQUIRE(zmq::save_key_pair(file, keys));
  struct stat info {};
  REQUIRE(::stat(file.c_str(), &info) == 0);
  CHECK((info.st_mode & 07777) == 0600);
  const auto read = zmq::load_key_pair(file).value();
  CHECK(read.public_key == keys.public_key);
  CHECK(read.secret_key == keys.secret_key);

  REQUIRE(::chmod(file.c_str(), 0640) == 0);
  CHECK(code_of(zmq::load_key_pair(file)) == ErrorCode::forbidden);
  REQUIRE(::chmod(file.c_str(), 0600) == 0);
  REQUIRE(zmq::save_key_pair(file, {zmq::make_key_pair().value().public_key, keys.secret_key}));
  CHECK(code_of(zmq::load_key_pair(file)) == ErrorCode::invalid);
  std::ofstream(file) << "{}";
  CHECK(code_of(zmq::load_key_pair(file)) == ErrorCode::invalid);
  CHECK(code_of(zmq::load_key_pair(directory.path() / "none")) == ErrorCode::not_found);
}
