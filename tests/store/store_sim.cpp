// SPDX-License-Identifier: Apache-2.0
// Simulation: random transactions against a local store and against a simple model; journals fail, stores are
// reopened, history is forgotten.
#include <random>

#include "ironcore/sim/virtual_clock.hpp"
#include "ledger.hpp"
#include "recording_journal.hpp"
#include "simulation.hpp"
#include "store_model.hpp"

#include "ironcore/api/compute.hpp"

using namespace ironcore;
using namespace ironcore::test;
using store::Change;
using store::LocalStore;
using store::Object;
using store::Revision;

namespace {

std::string text_of(const Change& change) {
  constexpr const char* words[] = {"added", "modified", "deleted", "bookmark"};
  return std::string(words[static_cast<int>(change.type)]) + " " + std::to_string(change.revision.value) +
         (change.object ? " " + change.object->metadata().namespace_ + "/" + change.object->name() : "");
}

/// A reader that may be slow, and what it should be told.
struct Reader {
  store::Query query;
  std::unique_ptr<store::Watch> watch;
  Revision at;  ///< told up to here
};

class StoreSimulation {
 public:
  explicit StoreSimulation(std::uint64_t seed)
      : random_(seed), store_random_(seed + 1), options_{.history_changes = 50 + seed % 400} {
    options_.history_age = std::chrono::minutes(30);
    options_.random = &store_random_;
    open();
    model_.namespaces["default"] = false;
    log_end_ = store_->revision().value();
    for (const auto* selector : {"", "color=red", "color!=red", "color"})
      for (const auto* fields :
           {"", "spec.machinePoolRef.name=pool-0", "spec.machinePoolRef.name=", "metadata.namespace=space-1"}) {
        Reader reader;
        reader.query.kind = &api::kind_of<api::Machine>();
        reader.query.labels = store::LabelSelector::parse(selector).value();
        reader.query.fields = store::FieldSelector::parse(fields).value();
        if (below(3) == 0) reader.query.namespace_ = "default";
        reader.at = log_end_;
        readers_.push_back(std::move(reader));
      }
  }

  void run() {
    for (int step = 0; step < 400; ++step) {
      commit();
      if (below(4) == 0) follow(readers_[below(readers_.size())]);
      if (below(40) == 0) collect();
      if (below(60) == 0) open();
      if (below(10) == 0) compare();
    }
    compare();
    for (auto& reader : readers_) follow(reader);
    open();
    compare();
    for (auto& reader : readers_) follow(reader);
  }

 private:
  std::uint64_t below(std::uint64_t bound) { return random_() % bound; }
  [[noreturn]] static void fail(const std::string& what) { throw Violation(what); }

  void open() {
    const auto revision = store_ ? store_->revision().value() : Revision{};
    for (auto& reader : readers_) reader.watch.reset();
    store_.reset();
    auto opened = LocalStore::open(std::make_unique<RecordingJournal>(recording_), options_, clock_, log_);
    if (!opened) fail("open: " + opened.error().message());
    store_ = *std::move(opened);
    if (revision != Revision{} && store_->revision().value() != revision)
      fail("the revision changed while the store was closed");
  }

  // ---- what is done ----

  std::string random_namespace() { return below(3) == 0 ? "space-" + std::to_string(below(3)) : "default"; }
  Place random_place() { return {random_namespace(), "m-" + std::to_string(below(12))}; }
  Place existing_place() {
    if (model_.machines.empty() || below(8) == 0) return random_place();
    return std::next(model_.machines.begin(), static_cast<std::ptrdiff_t>(below(model_.machines.size())))->first;
  }
  static store::Key key_of(const Place& place) { return store::key<api::Machine>(place.first, place.second); }
  std::string quoted_list(const std::vector<std::string>& words) {
    std::string text = "[";
    for (const auto& word : words) text += (text.size() > 1 ? ",\"" : "\"") + word + '"';
    return text + "]";
  }
  std::vector<std::string> random_finalizers() {
    std::vector<std::string> result;
    for (const auto* name : {"test.dev/one", "test.dev/two"})
      if (below(4) == 0) result.emplace_back(name);
    return result;
  }

  /// Adds one operation to the transaction and does the same to the model.
  Model::Failure operate(Model& model, store::Transaction& transaction,
                         std::vector<std::optional<Incarnation>>& created) {
    created.emplace_back();
    const auto place = existing_place();
    const auto found = model.machines.find(place);
    auto wanted = found == model.machines.end() ? ModelMachine{} : found->second;
    const auto patch = [&](std::string text, store::Part part = store::Part::object) {
      transaction.operations.emplace_back(store::Patch{key_of(place), std::move(text), part});
      return model.change(place, wanted);
    };
    switch (below(16)) {
      case 0:
      case 1:
      case 2:
      case 3:
        return create(model, transaction, created);
      case 4:
      case 5: {
        const auto* color = below(2) == 0 ? "red" : "blue";
        wanted.labels["color"] = color;
        return patch(std::string(R"({"metadata":{"labels":{"color":")") + color + R"("}}})");
      }
      case 6:
        wanted.labels.erase("color");
        return patch(R"({"metadata":{"labels":{"color":null}}})");
      case 7:
        wanted.is_on = below(2) == 0;
        return patch(wanted.is_on ? R"({"spec":{"power":"On"}})" : R"({"spec":{"power":"Off"}})");
      case 8:
        wanted.machine_id = "test://" + std::to_string(below(3));
        return patch(R"({"status":{"machineID":")" + wanted.machine_id + R"("},"spec":{"power":"Off"}})",
                     store::Part::status);
      case 9:
        wanted.finalizers = random_finalizers();
        return patch(R"({"metadata":{"finalizers":)" + quoted_list(wanted.finalizers) + "}}");
      case 10:
        if (wanted.pool.empty()) wanted.pool = "pool-" + std::to_string(below(2));
        return patch(R"({"spec":{"machinePoolRef":{"name":")" + wanted.pool + R"("}}})");
      case 11:
        return update(model, transaction, place);
      case 12:
      case 13: {
        const bool is_orphaning = below(3) == 0;
        transaction.operations.emplace_back(
            store::Delete{.key = key_of(place),
                          .propagation = is_orphaning ? store::Propagation::orphan : store::Propagation::cascade});
        return model.erase(place, is_orphaning);
      }
      case 14: {
        const auto name = random_namespace();
        if (below(4) != 0) return patch("{}");
        transaction.operations.emplace_back(store::Delete{store::key<api::Namespace>("", name)});
        return model.erase_namespace(name);
      }
      default: {
        api::Namespace space;
        space.metadata.name = random_namespace();
        transaction.operations.emplace_back(store::Create{Object::of(space)});
        return model.create_namespace(space.metadata.name);
      }
    }
  }

  Model::Failure create(Model& model, store::Transaction& transaction,
                        std::vector<std::optional<Incarnation>>& created) {
    const auto place = random_place();
    api::Machine object;
    ModelMachine machine;
    object.metadata.namespace_ = place.first;
    object.metadata.name = place.second;
    object.spec.machine_class_ref.name = "small";
    if (below(2) == 0) machine.labels["color"] = below(2) == 0 ? "red" : "blue";
    if (below(3) == 0) machine.pool = "pool-" + std::to_string(below(2));
    machine.finalizers = random_finalizers();
    for (std::uint64_t i = below(3); i > 0 && !uids_.empty(); --i) {
      // Also owners that are gone, or that live in another namespace.
      const auto& [owner, known] = *std::next(
          uids_.begin(),
          static_cast<std::ptrdiff_t>(
              below(4) == 0 ? below(uids_.size()) : uids_.size() - 1 - below(std::min<std::size_t>(uids_.size(), 8))));
      if (!machine.owners.insert(owner).second) continue;
      object.metadata.owner_references.push_back({.api_version = "compute.ironcore.dev/v1alpha1",
                                                  .kind = "Machine",
                                                  .name = known.second,
                                                  .uid = known.first});
    }
    object.metadata.labels = machine.labels;
    object.metadata.finalizers = machine.finalizers;
    if (!machine.pool.empty()) object.spec.machine_pool_ref = api::LocalReference{.name = machine.pool, .unknown = {}};
    transaction.operations.emplace_back(store::Create{Object::of(object)});
    const auto failure = model.create(place, machine);
    if (!failure) created.back() = model.last_incarnation;
    return failure;
  }

  /// Only alone in a commit, so that what the store has now is what the update finds.
  Model::Failure update(Model& model, store::Transaction& transaction, const Place& place) {
    const auto current = store_->get(key_of(place));
    if (!current) {
      transaction.operations.emplace_back(store::Patch{key_of(place), "{}"});
      return model.machines.contains(place) ? Model::Failure() : ErrorCode::not_found;
    }
    auto object = current->as<api::Machine>();
    const auto found = model.machines.find(place);
    const bool is_stale = below(4) == 0;
    object.metadata.labels["color"] = "green";
    if (is_stale) --object.metadata.resource_version.value;
    transaction.operations.emplace_back(store::Update{Object::of(object)});
    if (found == model.machines.end()) return ErrorCode::not_found;
    if (is_stale) return ErrorCode::conflict;
    auto wanted = found->second;
    wanted.labels["color"] = "green";
    return model.change(place, wanted);
  }

  void commit() {
    const auto count = 1 + (below(3) == 0 ? below(4) : 0);
    std::vector<store::Transaction> transactions;
    std::vector<Model::Failure> failures;
    std::vector<std::vector<std::optional<Incarnation>>> created;
    auto model = model_;
    for (std::uint64_t i = 0; i < count; ++i) {
      store::Transaction transaction;
      auto next = model;
      Model::Failure failure;
      std::vector<std::optional<Incarnation>> made;
      const auto operations = 1 + (below(3) == 0 ? below(5) : 0);
      for (std::uint64_t k = 0; k < operations && !failure; ++k) {
        failure = operate(next, transaction, made);
      }
      // Updates name revisions, which the model does not know: only alone.
      if (std::any_of(transaction.operations.begin(), transaction.operations.end(),
                      [](const auto& operation) { return std::holds_alternative<store::Update>(operation); }) &&
          (count > 1 || transaction.operations.size() > 1))
        continue;
      transactions.push_back(std::move(transaction));
      failures.push_back(failure);
      created.push_back(std::move(made));
      if (!failure) model = std::move(next);
    }
    const bool is_failing = below(25) == 0 && model.changes != model_.changes;
    if (is_failing) recording_->failure = Error(ErrorCode::unavailable, "the journal fails");
    const auto revision = store_->revision().value();
    const auto results = store_->commit_all(transactions);
    if (is_failing) {
      for (const auto& result : results)
        if (result || result.error().code() != ErrorCode::unavailable)
          fail("a commit does not say that the journal failed");
      if (store_->revision().value() != revision) fail("the revision moved although the journal failed");
      return compare();
    }
    for (std::size_t i = 0; i < results.size(); ++i) {
      if (results[i].has_error() != failures[i].has_value())
        fail("transaction " + std::to_string(i) +
             (results[i] ? " succeeded, expected " + std::string(name(*failures[i]))
                         : ": " + results[i].error().message()));
      if (failures[i] && results[i].error().code() != *failures[i])
        fail("expected " + std::string(name(*failures[i])) + ": " + results[i].error().message());
      if (failures[i]) continue;
      for (std::size_t k = 0; k < created[i].size(); ++k)
        if (created[i][k])
          uids_[*created[i][k]] = {results[i]->objects[k].metadata().uid, results[i]->objects[k].name()};
    }
    const auto changed = model.changes - model_.changes;
    if (store_->revision().value().value != revision.value + changed)
      fail(std::to_string(store_->revision().value().value - revision.value) + " changes were made, expected " +
           std::to_string(changed));
    model_ = std::move(model);
    note_changes();
  }

  void collect() {
    clock_.advance(std::chrono::minutes(below(40)));
    if (below(5) == 0) recording_->forget_failure = Error(ErrorCode::unavailable, "the journal fails");
    (void)store_->collect();
    recording_->forget_failure.reset();
  }

  // ---- what is checked ----

  void note_changes() {
    const auto changes = store_->changes(log_end_, 1'000'000);
    if (!changes) fail("raw changes: " + changes.error().message());
    for (const auto& change : *changes) {
      if (change.revision.value != log_end_.value + 1)
        fail("change " + std::to_string(change.revision.value) + " follows " + std::to_string(log_end_.value));
      log_end_ = change.revision;
      all_changes_.push_back(change);
    }
    if (log_end_ != store_->revision().value()) fail("the raw changes end too early");
  }

  void compare() {
    store::Query query;
    query.kind = &api::kind_of<api::Machine>();
    const auto page = store_->list(query, {}).value();
    if (page.objects.size() != model_.machines.size())
      fail(std::to_string(page.objects.size()) + " machines are there, expected " +
           std::to_string(model_.machines.size()));
    auto expected = model_.machines.begin();
    for (const auto& object : page.objects) {
      const auto& machine = object.as<api::Machine>();
      ModelMachine seen;
      seen.incarnation = expected->second.incarnation;
      seen.labels = machine.metadata.labels;
      seen.pool = machine.spec.machine_pool_ref ? machine.spec.machine_pool_ref->name : "";
      seen.is_on = machine.spec.power == api::Power::on;
      seen.machine_id = machine.status.machine_id;
      seen.finalizers = machine.metadata.finalizers;
      seen.is_deleting = machine.metadata.deletion_timestamp.has_value();
      for (const auto& owner : machine.metadata.owner_references)
        for (const auto& [incarnation, known] : uids_)
          if (known.first == owner.uid) seen.owners.insert(incarnation);
      seen.generation = machine.metadata.generation;
      const Place place{machine.metadata.namespace_, machine.metadata.name};
      if (place != expected->first || machine.metadata.uid != uids_.at(seen.incarnation).first ||
          !(seen == expected->second))
        fail("machine " + place.first + "/" + place.second + " is not as expected: " + object.json());
      ++expected;
    }
    query.kind = &api::kind_of<api::Namespace>();
    std::map<std::string, bool> namespaces;
    for (const auto& object : store_->list(query, {}).value().objects)
      namespaces[object.name()] = object.metadata().deletion_timestamp.has_value();
    if (namespaces != model_.namespaces) fail("the namespaces are not as expected");
    for (const auto& reader : readers_) {
      Texts listed, wanted;
      for (const auto& object : store_->list(reader.query, {}).value().objects) listed.push_back(object.metadata().uid);
      for (const auto& object : page.objects)
        if (reader.query.matches(object)) wanted.push_back(object.metadata().uid);
      if (listed != wanted) fail("a list with selectors is not what the whole list has");
    }
  }

  using Texts = std::vector<std::string>;

  void follow(Reader& reader) {
    if (!reader.watch || below(3) == 0) {
      auto watch = store_->watch(reader.query, reader.at);
      if (!watch) return expect_gone(reader, watch.error());
      reader.watch = *std::move(watch);
    }
    const auto end = store_->revision().value();
    Texts told;
    while (true) {
      const auto changes = reader.watch->next(Instant{}, {}, 1 + below(50));
      if (!changes) return expect_gone(reader, changes.error());
      if (changes->empty()) break;
      for (const auto& change : *changes) {
        if (change.type != Change::Type::bookmark) told.push_back(text_of(change));
        if (change.revision <= reader.at && change.type != Change::Type::bookmark)
          fail("told twice: " + text_of(change));
      }
    }
    Texts wanted;
    for (const auto& raw : all_changes_) {
      if (raw.revision <= reader.at || &raw.object.kind() != reader.query.kind) continue;
      const bool before = raw.previous && reader.query.matches(*raw.previous);
      const bool after = raw.type != Change::Type::deleted && reader.query.matches(raw.object);
      if (after)
        wanted.push_back(text_of({before ? Change::Type::modified : Change::Type::added, raw.revision, raw.object}));
      if (before && !after) wanted.push_back(text_of({Change::Type::deleted, raw.revision, raw.object}));
    }
    if (told != wanted)
      fail("a watch of " + reader.query.labels.to_text() + " " + reader.query.fields.to_text() + " from " +
           std::to_string(reader.at.value) + " told " + std::to_string(told.size()) + " changes, expected " +
           std::to_string(wanted.size()));
    reader.at = end;
  }

  void expect_gone(Reader& reader, const Error& error) {
    if (error.code() != ErrorCode::gone) fail("watch: " + error.message());
    const auto raw = store_->changes(reader.at, 1);
    if (raw) fail("a watch is gone although the history is there");
    reader.watch.reset();
    reader.at = store_->revision().value();
  }

  std::mt19937_64 random_;
  SeededRandom store_random_;
  store::LocalStoreOptions options_;
  sim::VirtualClock clock_;
  NullLog log_;
  std::shared_ptr<Recording> recording_ = std::make_shared<Recording>();
  std::unique_ptr<LocalStore> store_;
  Model model_;
  std::map<Incarnation, std::pair<std::string, std::string>> uids_;  ///< → uid, name
  std::vector<Reader> readers_;
  Revision log_end_;
  std::vector<LocalStore::RawChange> all_changes_;
};

}  // namespace

int main(int argc, char** argv) {
  return simulate(argc, argv, 100, [](std::uint64_t seed) { StoreSimulation(seed).run(); });
}
