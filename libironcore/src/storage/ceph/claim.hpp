// SPDX-License-Identifier: Apache-2.0
// One call at a time works on one volume, also among several processes.
#pragma once

#include <chrono>
#include <string>

#include "handles.hpp"

namespace ironcore::storage::ceph {

/// A lock in the cluster, let go of at the end or, after a crash, by time. It saves work and avoids confusion; that nothing is damaged when
/// it ran out meanwhile comes from images being changed by their id.
/// Who makes an image says so on the lock's object before, and the word stays until the image is whole or gone: only what has it may be thrown away as half made.
/// An image of the same name that lies there without it is somebody else's. Thread: one.
class Claim {
 public:
  /// `conflict` if another call has it. `io` is the pool's `.ironcore` and must outlive it.
  static Result<Claim> take(const IoContext& io, const std::string& name, std::chrono::seconds span);
  /// As `take`, by who is about to make it.
  static Result<Claim> take_to_make(const IoContext& io, const std::string& name, std::chrono::seconds span);
  /// Whether somebody has begun to make it, and was not seen to end.
  static Result<bool> is_begun(const IoContext& io, const std::string& name);
  /// Whether a call has it now.
  static Result<bool> is_taken(const IoContext& io, const std::string& name);
  Claim(Claim&& other) noexcept;
  Claim& operator=(Claim&&) = delete;
  ~Claim();
  /// For another span from now on; `conflict` if it was lost. To be called within each span by what takes long.
  Result<void> renew() const;
  /// Whether an earlier call had begun to make it.
  bool was_begun() const noexcept { return was_begun_; }
  /// To be called before anything is made.
  Result<void> begin();
  /// Nothing half made is there: the word goes with the claim.
  void settle() noexcept {
    is_begun_ = false;
    is_settled_ = true;
  }

 private:
  Claim(const IoContext& io, std::string object, std::string cookie, std::chrono::seconds span);
  int lock(std::uint8_t flags) const;
  enum class After { keep, remove, remove_unless_begun };  ///< the object
  int unlock(After after) const;

  const IoContext* io_;
  std::string object_;
  std::string cookie_;
  std::chrono::seconds span_;
  bool was_begun_ = false;
  bool is_begun_ = false;  ///< by this call or an earlier one
  bool is_settled_ = false;
};

}  // namespace ironcore::storage::ceph
