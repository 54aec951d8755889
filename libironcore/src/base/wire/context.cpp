// SPDX-License-Identifier: Apache-2.0
// The ZeroMQ context, and key files.
#include "ironcore/base/zmq_context.hpp"

#include <sys/stat.h>

#include <boost/json.hpp>
#include <cstdlib>

#include "ironcore/base/file.hpp"
#include "socket.hpp"

namespace ironcore::wire {

Result<std::unique_ptr<Context>> Context::create(ContextOptions options) {
  auto native = std::make_shared<Native>();
  native->handle = zmq_ctx_new();
  if (native->handle == nullptr) return zmq_error("create a ZeroMQ context");
  if (zmq_ctx_set(native->handle, ZMQ_IO_THREADS, static_cast<int>(options.io_threads)) != 0 ||
      zmq_ctx_set(native->handle, ZMQ_MAX_SOCKETS, static_cast<int>(options.max_sockets)) != 0)
    return zmq_error("create a ZeroMQ context");
  return std::unique_ptr<Context>(new Context(std::move(native)));
}
Context::~Context() = default;

Result<KeyPair> make_key_pair() {
  char public_key[41];
  char secret_key[41];
  if (zmq_curve_keypair(public_key, secret_key) != 0) return zmq_error("make a key pair");
  return KeyPair{public_key, secret_key};
}

namespace {
/// The public key that belongs to a secret one; empty if that is no key.
std::string public_of(const std::string& secret_key) {
  char public_key[41];
  if (secret_key.size() != 40 || zmq_curve_public(public_key, secret_key.c_str()) != 0) return {};
  return public_key;
}
}  // namespace

Result<KeyPair> load_key_pair(const std::filesystem::path& file) {
  struct stat info {};
  if (::stat(file.c_str(), &info) == 0 && (info.st_mode & 077) != 0) {
    return Error(
        ErrorCode::forbidden,
        "key file " + file.string() + " can be read by others: chmod 600 it, and make a new key if it was exposed");
  }
  IRONCORE_TRY(auto text, read_file(file, 4096));
  boost::json::error_code failed;
  const auto value = boost::json::parse(text, failed);
  const auto* members = failed ? nullptr : value.if_object();
  const auto* public_key = members == nullptr ? nullptr : members->if_contains("publicKey");
  const auto* secret_key = members == nullptr ? nullptr : members->if_contains("secretKey");
  if (public_key == nullptr || secret_key == nullptr || !public_key->is_string() || !secret_key->is_string())
    return Error(ErrorCode::invalid,
                 "key file " + file.string() + " does not hold publicKey and secretKey: make one with keygen");
  KeyPair keys{std::string(public_key->as_string()), std::string(secret_key->as_string())};
  if (public_of(keys.secret_key) != keys.public_key || keys.public_key.empty())
    return Error(ErrorCode::invalid, "key file " + file.string() + " is damaged: its two keys do not belong together");
  return keys;
}

Result<void> save_key_pair(const std::filesystem::path& file, const KeyPair& keys) {
  const boost::json::object members{{"publicKey", keys.public_key}, {"secretKey", keys.secret_key}};
  return atomic_write_file(file, boost::json::serialize(members) + "\n", 0600);
}

}  // namespace ironcore::wire
