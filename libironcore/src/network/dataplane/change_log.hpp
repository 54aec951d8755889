// SPDX-License-Identifier: Apache-2.0
// What the last batches made different, for those who watch.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "ironcore/network/dataplane.hpp"

namespace ironcore::network::dataplane {

/// Remembers whole batches, the newest ones, and of these so many that their changes are no more than `most`. Thread: one.
class ChangeLog {
 public:
  /// Revisions grow from `first` on.
  ChangeLog(std::uint64_t first, std::size_t most) : revision_(first), forgotten_(first), most_(most) {}

  std::uint64_t revision() const noexcept { return revision_; }

  std::uint64_t add(std::vector<Change> changes) {
    ++revision_;
    count_ += changes.size();
    batches_.push_back({revision_, std::make_shared<const std::vector<Change>>(std::move(changes))});
    while (count_ > most_) {
      count_ -= batches_.front().changes->size();
      forgotten_ = batches_.front().revision;
      batches_.pop_front();
    }
    return revision_;
  }

  /// Nothing if something behind `revision` is forgotten, or it was never reached.
  std::optional<std::vector<AppliedBatch>> after(std::uint64_t revision, std::size_t limit) const {
    if (revision < forgotten_ || revision > revision_) return std::nullopt;
    const auto first = std::upper_bound(batches_.begin(), batches_.end(), revision,
                                        [](std::uint64_t a, const AppliedBatch& b) { return a < b.revision; });
    const auto count = std::min(limit, static_cast<std::size_t>(batches_.end() - first));
    return std::vector<AppliedBatch>(first, first + static_cast<std::ptrdiff_t>(count));
  }

 private:
  std::deque<AppliedBatch> batches_;
  std::uint64_t revision_;
  std::uint64_t forgotten_;  ///< up to this one
  std::size_t most_;
  std::size_t count_ = 0;  ///< changes
};

}  // namespace ironcore::network::dataplane
