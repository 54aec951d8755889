// SPDX-License-Identifier: Apache-2.0
// The one place that decides what a peer may do.
#pragma once

#include <atomic>
#include <memory>
#include <string>
#include <string_view>

#include "codec.hpp"
#include "ironcore/store/local_store.hpp"
#include "ironcore/store/zmq_identities.hpp"

namespace ironcore::store::zmq {

/// Who sent a message: everybody who can open the local socket, or the holder of a key.
struct Peer {
  bool is_local = false;
  std::string_view public_key;  ///< empty for local ones
};

/// Every question is answered for what stands in the store now. Errors are `forbidden` and say who may not do what.
/// Thread: one, except `replace`.
class Authorizer {
 public:
  Authorizer(LocalStore& store, Identities identities)
      : store_(store), identities_(std::make_shared<const Identities>(std::move(identities))) {}

  void replace(Identities identities);
  bool knows(std::string_view public_key) const;
  /// For logs and for workers.
  std::string name(const Peer& peer) const;

  Result<void> may_read(const Peer& peer, const Object& object) const;
  /// The whole of what the query can ever match.
  Result<void> may_read(const Peer& peer, const Query& query) const;
  /// An object of this name that is not there, or is not placed.
  Result<void> may_read_name(const Peer& peer, const Key& key) const;
  Result<void> may_commit(const Peer& peer, const Transaction& transaction) const;
  Result<void> may_lease(const Peer& peer, std::string_view name) const;
  Result<void> may_read_leases(const Peer& peer, std::string_view prefix) const;
  Result<void> may_open_stream(const Peer& peer, const Object& object) const;
  Result<void> may_serve(const Peer& peer, std::string_view resource, std::string_view pool) const;

 private:
  struct Question {
    Verb verb;
    std::string_view resource;
    const std::string* namespace_ = nullptr;  ///< null = all of them
    const std::string* pool = nullptr;
    const std::string* name = nullptr;
    bool is_prefix = false;  ///< `name` is only how it begins
  };
  Result<void> ask(const Peer& peer, const Question& question) const;
  Result<void> may_change(const Peer& peer, Verb verb, const Key& key) const;
  std::shared_ptr<const Identities> identities() const { return std::atomic_load(&identities_); }

  LocalStore& store_;
  std::shared_ptr<const Identities> identities_;
};

}  // namespace ironcore::store::zmq
