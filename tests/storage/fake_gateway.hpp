// SPDX-License-Identifier: Apache-2.0
// A server on loopback that answers as a test says, with HTTP or bytes that are none, plain or by TLS.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace ironcore::tests {

/// One connection at a time, on a thread of its own; gone when it is destroyed.
class FakeGateway {
 public:
  struct Asked {
    std::string method;
    std::string target;
    std::string body;
  };
  enum class Then { keep, close, hang };  ///< hang = not a byte more, until the client gives up
  struct Reply {
    std::string bytes;  ///< from the status line on
    Then then = Then::keep;
    std::string late = {};  ///< bytes that follow when the test says so
  };
  using Script = std::function<Reply(const Asked&)>;

  /// With `certificate` (of `make_certificate`) by TLS.
  explicit FakeGateway(Script script, const std::filesystem::path& certificate = {});
  FakeGateway(const FakeGateway&) = delete;
  FakeGateway& operator=(const FakeGateway&) = delete;
  ~FakeGateway();

  /// `127.0.0.1:port`
  const std::string& authority() const;
  int connections() const;
  int requests() const;
  /// Sends what the last reply has as `late`; when this returns, the client's host has it. A reply that has some must have come before.
  void send_late();

  static std::string http(unsigned status, const std::string& body);
  /// Key and certificate of 127.0.0.1, signed by itself, as PEM in one file.
  static void make_certificate(const std::filesystem::path& file);

 private:
  struct Server;
  std::unique_ptr<Server> server_;
};

}  // namespace ironcore::tests
