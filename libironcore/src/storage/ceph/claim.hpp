// SPDX-License-Identifier: Apache-2.0
// One call at a time works on one volume, also among several processes.
#pragma once

#include <chrono>
#include <string>

#include "handles.hpp"

namespace ironcore::storage::ceph {

/// A lock in the cluster, let go of at the end or, after a crash, by time. It saves work and avoids confusion; that nothing is damaged when
/// it ran out meanwhile comes from images being changed by their id. Thread: one.
class Claim {
 public:
  /// `conflict` if another call has it. `io` is the pool's `.ironcore` and must outlive it.
  static Result<Claim> take(const IoContext& io, const std::string& name, std::chrono::seconds span);
  /// Whether a call has it now.
  static Result<bool> is_taken(const IoContext& io, const std::string& name);
  Claim(Claim&& other) noexcept;
  Claim& operator=(Claim&&) = delete;
  ~Claim();
  /// For another span from now on; `conflict` if it was lost. To be called within each span by what takes long.
  Result<void> renew() const;

 private:
  Claim(const IoContext& io, std::string object, std::string cookie, std::chrono::seconds span);
  int lock(std::uint8_t flags) const;

  const IoContext* io_;
  std::string object_;
  std::string cookie_;
  std::chrono::seconds span_;
};

}  // namespace ironcore::storage::ceph
