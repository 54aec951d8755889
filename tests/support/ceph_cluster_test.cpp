// SPDX-License-Identifier: Apache-2.0
// The Ceph cluster of a C++ test program: it serves, takes faults, and is gone when its program is.
#define DOCTEST_CONFIG_IMPLEMENT
#include "ceph_cluster.hpp"

#include <arpa/inet.h>
#include <doctest/doctest.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <string>
#include <thread>

using ironcore::tests::CephCluster;

namespace {

std::string script;  // tests/support/ceph-cluster

/// `endpoint` is an IPv4 address and a port, as in CEPH_MONITOR.
bool answers(const std::string& endpoint) {
  const std::size_t colon = endpoint.find(':');
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<std::uint16_t>(std::stoi(endpoint.substr(colon + 1))));
  REQUIRE(::inet_pton(AF_INET, endpoint.substr(0, colon).c_str(), &address.sin_addr) == 1);
  const int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const bool connected = ::connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof address) == 0;
  ::close(fd);
  return connected;
}

bool gone_soon(const std::filesystem::path& directory) {
  const auto end = std::chrono::steady_clock::now() + std::chrono::minutes(1);
  while (std::filesystem::exists(directory)) {
    if (std::chrono::steady_clock::now() > end) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return true;
}

}  // namespace

TEST_CASE("a cluster of a test program serves, takes faults and leaves nothing") {
  auto cluster = CephCluster::start(script, {"--no-rgw"});
  REQUIRE(cluster);
  const std::string monitor = cluster->env("CEPH_MONITOR");
  const std::filesystem::path directory = cluster->directory();
  CHECK(cluster->env("CEPH_CONF") == (directory / "ceph.conf").string());
  CHECK(answers(monitor));
  cluster->run({"stop", "mon"});
  CHECK_FALSE(answers(monitor));
  cluster->run({"start", "mon"});
  CHECK(answers(monitor));
  CHECK_THROWS_AS(cluster->run({"stop", "rgw"}), std::runtime_error);
  cluster.reset();
  CHECK_FALSE(answers(monitor));
  CHECK_FALSE(std::filesystem::exists(directory));
}

TEST_CASE("a cluster ends with a test program that is killed") {
  std::array<int, 2> pipe{};
  REQUIRE(::pipe(pipe.data()) == 0);
  const pid_t program = ::fork();
  if (program == 0) {
    const auto cluster = CephCluster::start(script, {"--no-rgw"});
    const std::string text = cluster->env("CEPH_MONITOR") + " " + cluster->directory().string();
    if (::write(pipe[1], text.data(), text.size()) < 0) ::_exit(1);
    ::kill(::getpid(), SIGKILL);
  }
  ::close(pipe[1]);
  std::array<char, 256> text{};
  const ssize_t size = ::read(pipe[0], text.data(), text.size());
  ::close(pipe[0]);
  REQUIRE(size > 0);
  int status = 0;
  REQUIRE(::waitpid(program, &status, 0) == program);
  CHECK(WIFSIGNALED(status));
  const std::string seen(text.data(), static_cast<std::size_t>(size));
  const std::size_t space = seen.find(' ');
  CHECK(gone_soon(seen.substr(space + 1)));
  CHECK_FALSE(answers(seen.substr(0, space)));
}

/// Arguments: tests/support/ceph-cluster, then doctest's own.
int main(int argc, char** argv) {
  if (argc < 2) return 2;
  script = argv[1];
  if (!CephCluster::start(script, {"--no-rgw"})) return 77;
  doctest::Context context(argc, argv);
  return context.run();
}
