// SPDX-License-Identifier: Apache-2.0
// The journal that keeps nothing.
#include "ironcore/base/uid.hpp"
#include "ironcore/store/local_store.hpp"

namespace ironcore::store {

namespace {

class MemoryJournal final : public Journal {
 public:
  Result<void> load(const std::function<Result<void>(const JournalRecord&)>&) override { return {}; }
  Result<void> append(std::span<const JournalRecord>) override { return {}; }
  Result<void> forget(std::span<const Revision>) override { return {}; }
  const std::string& epoch() const override { return epoch_; }

 private:
  std::string epoch_ = Uid::random().to_text();
};

}  // namespace

std::unique_ptr<Journal> memory_journal() {
  return std::make_unique<MemoryJournal>();
}

}  // namespace ironcore::store
