// SPDX-License-Identifier: Apache-2.0
// ZeroMQ's process-wide part, and the keys that are identities on TCP.
#pragma once

#include <cstddef>
#include <filesystem>
#include <memory>
#include <string>

#include "ironcore/base/result.hpp"

namespace ironcore::wire {

struct ContextOptions {
  std::size_t io_threads = 1;        ///< threads that ZeroMQ starts for itself; one moves about 1 GB/s
  std::size_t max_sockets = 16'384;  ///< a client uses one per call in flight and one per watch
};

/// A ZeroMQ context: it owns ZeroMQ's I/O threads, the only ones that this adapter ever starts. The embedder makes one and passes
/// it on; one for each process is enough, but two servers that offer TCP need one each. What was made with it may outlive it: the
/// threads end with the last user. Not usable after fork(). Each socket needs about three file descriptors. Thread: any.
class Context {
 public:
  /// `exhausted` when the process has no threads or file descriptors left.
  static Result<std::unique_ptr<Context>> create(ContextOptions options = {});
  ~Context();
  Context(const Context&) = delete;
  Context& operator=(const Context&) = delete;

  /// Internal: what sockets hold on to.
  struct Native;
  const std::shared_ptr<Native>& native() const noexcept { return native_; }

 private:
  explicit Context(std::shared_ptr<Native> native) noexcept : native_(std::move(native)) {}
  std::shared_ptr<Native> native_;
};

/// A CURVE25519 key pair as Z85 text (40 characters each). The public key is the identity.
struct KeyPair {
  std::string public_key;
  std::string secret_key;
};

/// Who we are and whom we expect, on TCP.
struct ClientKeys {
  KeyPair own;
  std::string server_public_key;  ///< Z85
};

/// `unsupported` if this libzmq was built without CURVE.
Result<KeyPair> make_key_pair();

/// A key file is JSON: `{"publicKey": …, "secretKey": …}`, mode 0600. Reading refuses a file that others may read.
Result<KeyPair> load_key_pair(const std::filesystem::path& file);
Result<void> save_key_pair(const std::filesystem::path& file, const KeyPair& keys);

}  // namespace ironcore::wire
