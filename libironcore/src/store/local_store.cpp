// SPDX-License-Identifier: Apache-2.0
// The engine: commits in groups, one journal append for each, then publication.
#include "ironcore/store/local_store.hpp"

#include <algorithm>
#include <array>
#include <deque>
#include <optional>
#include <utility>
#include <variant>

#include "ironcore/api/core.hpp"
#include "local_store/group_commit.hpp"
#include "local_store/load.hpp"
#include "local_store/staging.hpp"
#include "local_store/transaction.hpp"

namespace ironcore::store {

namespace {

using namespace local_store;

/// One batch takes about this many operations: more would not be faster, but everybody in it would wait
/// longer.
constexpr std::size_t batch_operations = 4096;
/// And not much more JSON than this.
constexpr std::size_t batch_bytes = 32 * 1024 * 1024;
/// Room for JSON that is kept between batches.
constexpr std::size_t kept_bytes = 1024 * 1024;
/// Records forgotten at a time, between which commits may go on.
constexpr std::size_t forgotten_at_once = 500;
/// Events deleted at a time.
constexpr std::size_t events_at_once = 500;
constexpr std::size_t max_lease_name = 253;

/// What somebody waits for: some transactions, a change of a lease, or the journal for himself.
struct Job {
  std::vector<Transaction> transactions;
  std::function<Result<Lease>(Staging&)> lease;
  std::function<Result<void>()> alone;

  std::vector<Result<Committed>> committed;
  Result<Lease> leased = Lease{};
  Result<void> done{};

  std::size_t weight() const {
    if (alone) return batch_operations;
    std::size_t sum = 1;
    for (const auto& transaction : transactions) sum += transaction.operations.size();
    return sum;
  }
};

/// The kernel's generator, asked for more than one uid at a time.
class BufferedRandom final : public Random {
 public:
  void fill(std::span<std::byte> bytes) override {
    for (auto& byte : bytes) {
      if (used_ == buffer_.size()) {
        source_.fill(buffer_);
        used_ = 0;
      }
      byte = buffer_[used_++];
    }
  }

 private:
  SystemRandom source_;
  std::array<std::byte, 1024> buffer_{};
  std::size_t used_ = buffer_.size();
};

class Engine final : public LocalStore {
 public:
  Engine(std::unique_ptr<Journal> journal, LocalStoreOptions options, Clock& clock)
      : journal_(std::move(journal)),
        options_(options),
        clock_(clock),
        random_(options.random != nullptr ? *options.random : buffered_random_) {}

  ~Engine() override {
    const std::lock_guard lock(published_->mutex);
    published_->close();
    // Watches that stay behind keep `published_`, but not everything in it.
    published_->tables.clear();
    published_->history = {};
  }

  Result<void> start() {
    IRONCORE_TRY(auto loaded, local_store::load(*journal_));
    fill(std::move(loaded));
    if (head_.find(key<api::Namespace>("", "default")) != nullptr) return {};
    api::Namespace first;
    first.metadata.name = "default";
    const Transaction transaction{.operations = {Create{Object::of(std::move(first))}}, .preconditions = {}};
    IRONCORE_CHECK(within(commit(transaction), "prepare the store"));
    return {};
  }

  Result<Object> get(const Key& key) override {
    if (key.kind != nullptr) {
      const std::lock_guard lock(published_->mutex);
      auto* of_kind = published_->tables_of(*key.kind);
      const auto* found = of_kind == nullptr ? nullptr : of_kind->all.find({key.namespace_, key.name});
      if (found != nullptr) return *found;
    }
    return Error(ErrorCode::not_found, key.to_text() + " does not exist");
  }

  Result<Page> list(const Query& query, const ListOptions& options) override;

  Result<Committed> commit(const Transaction& transaction) override {
    auto results = commit_all({transaction});
    return std::move(results.front());
  }

  std::vector<Result<Committed>> commit_all(std::vector<Transaction> transactions) override {
    if (transactions.empty()) return {};
    Job job;
    job.committed.assign(transactions.size(), Committed{});
    job.transactions = std::move(transactions);
    run(job);
    return std::move(job.committed);
  }

  Result<std::unique_ptr<Watch>> watch(const Query& query, Revision from) override {
    return open_watch(published_, query, from, clock_);
  }

  Result<Revision> revision() override {
    const std::lock_guard lock(published_->mutex);
    return published_->revision;
  }

  Result<Lease> acquire_lease(const std::string& name, const std::string& holder, Duration time_to_live) override;
  Result<void> release_lease(const std::string& name, std::uint64_t token) override;
  Result<std::vector<Lease>> leases(const std::string& prefix) override { return leases_.list(prefix, clock_.now()); }

  void on_change(std::function<void()> wake) override {
    const std::lock_guard lock(wake_mutex_);
    wake_ = std::move(wake);
  }

  Result<void> collect() override;
  const std::string& epoch() const override { return journal_->epoch(); }
  Result<std::vector<RawChange>> changes(Revision from, std::size_t limit) override;

 private:
  void fill(Loaded loaded);
  void run(Job& job) {
    group_.run(job, batch_operations, [this](const std::vector<Job*>& jobs) { work(jobs); });
  }
  void work(const std::vector<Job*>& jobs) noexcept;
  using Outcome = std::variant<Result<Committed>*, Result<Lease>*>;
  void finish(Staging& staging, const std::vector<Outcome>& outcomes);
  void drop(std::vector<HistoryEntry> outdated);
  HistoryLimits limits() const noexcept { return {options_.history_changes, options_.history_bytes}; }
  Result<void> collect_events();
  Result<void> collect_history();

  std::unique_ptr<Journal> journal_;
  const LocalStoreOptions options_;
  Clock& clock_;
  BufferedRandom buffered_random_;
  Random& random_;

  GroupCommit<Job> group_;
  // Of the thread that leads the group:
  Head head_;
  Revision last_;
  std::string bodies_;
  std::deque<Revision> outdated_;  ///< records that nobody needs any more; of one name the older ones first

  Leases leases_;
  std::shared_ptr<Published> published_ = std::make_shared<Published>();
  std::mutex wake_mutex_;
  std::function<void()> wake_;
};

// ---- opening
// ------------------------------------------------------------------------------------------------------

void Engine::fill(Loaded loaded) {
  const auto now = clock_.now();
  auto& published = *published_;
  head_.reserve(loaded.objects.size());
  for (const auto& object : loaded.objects) head_.change(nullptr, &object);
  // Oldest first is often in the order of the names already.
  std::vector<Table::Entry> sorted;
  sorted.reserve(loaded.objects.size());
  for (auto at = loaded.objects.rbegin(); at != loaded.objects.rend(); ++at) sorted.emplace_back(*at);
  const auto is_before = [](const Table::Entry& a, const Table::Entry& b) {
    const auto* kind_a = &a.object.kind();
    const auto* kind_b = &b.object.kind();
    return kind_a != kind_b ? std::less<const void*>()(kind_a, kind_b) : name_of(*a.metadata) < name_of(*b.metadata);
  };
  if (!std::is_sorted(sorted.begin(), sorted.end(), is_before))
    std::stable_sort(sorted.begin(), sorted.end(), is_before);
  for (auto begin = sorted.begin(); begin != sorted.end();) {
    const auto end = std::find_if(
        begin, sorted.end(), [&](const Table::Entry& entry) { return &entry.object.kind() != &begin->object.kind(); });
    auto& of_kind = *published.tables_of(begin->object.kind());
    of_kind.all.fill({begin, end});
    if (!of_kind.kind->info().placement.empty())
      for (auto at = begin; at != end; ++at) of_kind.placed[placement_of(at->object)].put(at->object);
    begin = end;
  }
  for (auto& lease : loaded.leases) leases_.settle(lease.name, lease.revision, std::move(lease.terms), now);
  last_ = loaded.revision;
  outdated_.assign(loaded.outdated.begin(), loaded.outdated.end());
  published.revision = loaded.revision;
  published.history.start_at(loaded.history.empty() ? Revision{loaded.revision.value + 1}
                                                    : loaded.history.front().revision);
  std::vector<HistoryEntry> outdated;
  for (auto& entry : loaded.history) {
    published.history.push(std::move(entry));
    while (published.history.is_over(limits())) outdated.push_back(published.history.pop());
  }
  drop(std::move(outdated));
}

// ---- reading
// ------------------------------------------------------------------------------------------------------

/// `namespace/name` of the last object of the page before. Neither may contain a slash.
Result<NameView> parse_position(std::string_view text) {
  const auto slash = text.find('/');
  if (slash == std::string_view::npos)
    return Error(ErrorCode::invalid,
                 "the place to continue the list at is none that a page has named: list from the beginning");
  return NameView{text.substr(0, slash), text.substr(slash + 1)};
}

Result<Page> Engine::list(const Query& query, const ListOptions& options) {
  std::optional<NameView> after;
  if (!options.continue_at.empty()) {
    IRONCORE_TRY(after, parse_position(options.continue_at));
  }
  // Without selectors every object counts, so that a page needs no more of them than it holds, and one that
  // tells whether more follow.
  const bool is_selective = !query.labels.is_empty() || !query.fields.is_empty();
  const auto enough = options.limit == 0 || is_selective ? static_cast<std::size_t>(-1) : options.limit + 1;
  IRONCORE_TRY(const auto view, published_->view(query, after ? &*after : nullptr, enough));
  Page page;
  page.revision = view.revision;
  if (!is_selective) page.objects.reserve(std::min(view.objects.size(), enough));
  view.objects.for_each([&](const Object& object) {
    if (is_selective && !query.matches(object)) return true;
    if (options.limit != 0 && page.objects.size() == options.limit) {
      const auto& last = page.objects.back().metadata();
      page.continue_at = last.namespace_ + '/' + last.name;
      return false;
    }
    page.objects.push_back(object);
    return true;
  });
  return page;
}

Result<std::vector<LocalStore::RawChange>> Engine::changes(Revision from, std::size_t limit) {
  std::vector<RawChange> result;
  const std::lock_guard lock(published_->mutex);
  const auto& history = published_->history;
  if (!history.reaches_back_to(from)) return history_is_gone(from, history);
  for (auto at = from; at < published_->revision && result.size() < limit;) {
    ++at.value;
    const auto& entry = history[at];
    if (entry.object) result.push_back({entry.type, entry.revision, *entry.object, entry.previous});
  }
  return result;
}

// ---- writing
// ------------------------------------------------------------------------------------------------------

void Engine::work(const std::vector<Job*>& jobs) noexcept {
  if (jobs.front()->alone) {
    jobs.front()->done = jobs.front()->alone();
    return;
  }
  // Nearly always there is one append; a batch of very large objects is cut into several.
  std::vector<Outcome> outcomes;
  std::optional<Staging> staging;
  for (auto* job : jobs) {
    const auto steps = job->transactions.size() + (job->lease ? 1 : 0);
    for (std::size_t i = 0; i < steps; ++i) {
      if (!staging)
        staging.emplace(Workplace{head_, leases_, *published_, random_, bodies_}, last_, clock_.now(), clock_.wall());
      if (i < job->transactions.size()) {
        job->committed[i] = execute(*staging, job->transactions[i]);
        outcomes.emplace_back(&job->committed[i]);
      } else {
        job->leased = job->lease(*staging);
        outcomes.emplace_back(&job->leased);
      }
      if (bodies_.size() < batch_bytes) continue;
      finish(*staging, outcomes);
      staging.reset();
      outcomes.clear();
    }
  }
  if (staging) finish(*staging, outcomes);
  if (bodies_.capacity() > kept_bytes) bodies_ = {};
}

void Engine::finish(Staging& staging, const std::vector<Outcome>& outcomes) {
  if (staging.size() == 0) return;
  if (auto appended = journal_->append(staging.records()); !appended) {
    staging.roll_back(0);
    for (const auto& outcome : outcomes) std::visit([&](auto* result) { *result = appended.error(); }, outcome);
    return;
  }
  last_ = staging.last();
  drop(staging.publish(limits()));
  const std::lock_guard lock(wake_mutex_);
  if (wake_) wake_();
}

/// Notes which records are not needed without this part of the history; the objects go with the argument.
void Engine::drop(std::vector<HistoryEntry> outdated) {
  for (const auto& entry : outdated) {
    if (entry.previous_revision != Revision{}) outdated_.push_back(entry.previous_revision);
    if (entry.type == Change::Type::deleted) outdated_.push_back(entry.revision);
  }
}

Result<void> check_lease_words(const std::string& name, const std::string& holder) {
  const auto is_bad = [](const std::string& text) {
    return text.empty() || text.size() > max_lease_name || std::any_of(text.begin(), text.end(), [](char c) {
             return static_cast<unsigned char>(c) < ' ' || c == 0x7f;
           });
  };
  if (is_bad(name)) return Error(ErrorCode::invalid, "the name of a lease has 1 to 253 printable characters");
  if (is_bad(holder))
    return Error(ErrorCode::invalid,
                 "the holder of lease " + name + " must be named with 1 to 253 printable characters");
  return {};
}

Result<Lease> Engine::acquire_lease(const std::string& name, const std::string& holder, Duration time_to_live) {
  IRONCORE_CHECK(check_lease_words(name, holder));
  if (time_to_live <= Duration::zero())
    return Error(ErrorCode::invalid, "the time to live of lease " + name + " must be positive");
  IRONCORE_TRY(auto renewed, leases_.renew(name, holder, time_to_live, clock_.now()));
  if (renewed) return *std::move(renewed);
  Job job;
  job.lease = [&](Staging& staging) { return staging.acquire(name, holder, time_to_live); };
  run(job);
  return std::move(job.leased);
}

Result<void> Engine::release_lease(const std::string& name, std::uint64_t token) {
  Job job;
  job.lease = [&](Staging& staging) -> Result<Lease> {
    IRONCORE_CHECK(staging.release(name, token));
    return Lease{};
  };
  run(job);
  IRONCORE_CHECK(job.leased);
  return {};
}

// ---- retention
// ----------------------------------------------------------------------------------------------------

Result<void> Engine::collect() {
  IRONCORE_CHECK(within(collect_events(), "delete old events"));
  return within(collect_history(), "forget old history");
}

Result<void> Engine::collect_events() {
  struct Candidate {
    WallTime time;
    Key key;
    std::string uid;
  };
  Query query;
  query.kind = &api::kind_of<api::Event>();
  IRONCORE_TRY(const auto page, list(query, {}));
  std::vector<Candidate> events;
  events.reserve(page.objects.size());
  for (const auto& object : page.objects) {
    const auto& event = object.as<api::Event>();
    auto time = event.metadata.creation_timestamp.value_or(WallTime{});
    if (event.last_timestamp) time = std::max(time, *event.last_timestamp);
    if (!event.metadata.deletion_timestamp) events.push_back({time, key_of(object), event.metadata.uid});
  }
  std::sort(events.begin(), events.end(), [](const Candidate& a, const Candidate& b) { return a.time < b.time; });
  const auto too_many = events.size() - std::min(events.size(), options_.events_limit);
  const auto oldest = clock_.wall() - options_.events_age;
  std::size_t count = too_many;
  while (count < events.size() && events[count].time < oldest) ++count;

  for (std::size_t begin = 0; begin < count; begin += events_at_once) {
    std::vector<Transaction> transactions;
    for (std::size_t i = begin; i < std::min(begin + events_at_once, count); ++i)
      transactions.push_back(
          {.operations = {Delete{.key = events[i].key, .revision = {}, .uid = events[i].uid}}, .preconditions = {}});
    for (const auto& result : commit_all(transactions)) {
      // Somebody else may delete or replace one at the same time.
      const bool is_expected =
          result || result.error().code() == ErrorCode::not_found || result.error().code() == ErrorCode::conflict;
      if (!is_expected) return result.error();
    }
  }
  return {};
}

Result<void> Engine::collect_history() {
  bool is_finished = false;
  while (!is_finished) {
    Job job;
    job.alone = [&]() -> Result<void> {
      const auto oldest =
          std::chrono::duration_cast<std::chrono::seconds>((clock_.wall() - options_.history_age).time_since_epoch())
              .count();
      std::vector<HistoryEntry> outdated;
      {
        const std::lock_guard lock(published_->mutex);
        auto& history = published_->history;
        while (history.size() > 0 && outdated.size() < forgotten_at_once &&
               (history.is_over(limits()) || history.front().time < oldest))
          outdated.push_back(history.pop());
      }
      const bool is_history_short = outdated.size() < forgotten_at_once;
      drop(std::move(outdated));
      // The newest record stays even if it only says that something was removed: it tells which revision
      // comes next.
      const bool is_newest_last = !outdated_.empty() && outdated_.back() == last_;
      const auto count = std::min(outdated_.size() - (is_newest_last ? 1 : 0), forgotten_at_once);
      const auto end = outdated_.begin() + static_cast<std::ptrdiff_t>(count);
      is_finished = is_history_short && outdated_.size() - count == (is_newest_last ? 1 : 0);
      if (count == 0) return {};
      const std::vector<Revision> some(outdated_.begin(), end);
      IRONCORE_CHECK(journal_->forget(some));
      outdated_.erase(outdated_.begin(), end);
      return {};
    };
    run(job);
    IRONCORE_CHECK(job.done);
  }
  return {};
}

}  // namespace

Result<std::unique_ptr<LocalStore>> LocalStore::open(std::unique_ptr<Journal> journal, LocalStoreOptions options,
                                                     Clock& clock, Log& log) {
  auto engine = std::make_unique<Engine>(std::move(journal), options, clock);
  IRONCORE_CHECK(engine->start());
  log.debug("store opened", {{"epoch", engine->epoch()}, {"revision", std::to_string(engine->revision()->value)}});
  return std::unique_ptr<LocalStore>(std::move(engine));
}

Result<JournalContents> examine(Journal& journal) {
  IRONCORE_TRY(const auto loaded, local_store::load(journal));
  return JournalContents{.records = loaded.records,
                         .objects = loaded.objects.size(),
                         .leases = loaded.leases.size(),
                         .changes = loaded.history.size(),
                         .revision = loaded.revision};
}

std::unique_ptr<LocalStore> memory_store(Clock& clock, Log& log, LocalStoreOptions options) {
  // A journal that keeps nothing has nothing that could fail.
  return LocalStore::open(memory_journal(), options, clock, log).value();
}

}  // namespace ironcore::store
