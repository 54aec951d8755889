// SPDX-License-Identifier: Apache-2.0
// Lists and watches for `get`.
#include "ironcorectl/get.hpp"

#include <algorithm>
#include <ostream>

#include "ironcorectl/states.hpp"
#include "ironcorectl/table.hpp"
#include "ironcorectl/target.hpp"

namespace ironcore::ctl {
namespace {

/// As wide as the longest word below it: the column is measured before there is one.
constexpr const char* change_header = "Change  ";
static_assert(std::string_view(change_header).size() == std::string_view("modified").size());

class Getter {
 public:
  Getter(Session& session, const GetOptions& options) : session_(session), options_(options) {}

  Result<void> once(const std::vector<Selection>& selections) {
    IRONCORE_TRY(store::Store* const store, session_.store());
    std::vector<api::Object> all;
    std::optional<Error> first_error;
    bool has_table = false;
    for (const Selection& selection : selections) {
      IRONCORE_TRY(const store::Query query, query_of(selection));
      std::vector<api::Object> objects;
      if (selection.names.empty()) {
        IRONCORE_TRY(objects, list(*store, query));
      }
      for (const std::string& name : selection.names) {
        auto object = store->get({selection.kind, session_.namespace_of(*selection.kind), name});
        if (!object) {
          if (!first_error) first_error = object.error();
        } else if (query.matches(*object)) {
          objects.push_back(std::move(*object));
        }
      }
      if (!is_table()) {
        all.insert(all.end(), objects.begin(), objects.end());
      } else if (!objects.empty()) {
        if (has_table) session_.out() << '\n';
        has_table = true;
        Table table = new_table(*selection.kind);
        for (const api::Object& object : objects) table.add(row(object, ""));
        table.print(session_.out(), session_.terminal());
      }
    }
    const bool is_one = selections.size() == 1 && selections.front().names.size() == 1;
    if (!is_table() && !(all.empty() && first_error))
      print(session_, all, is_one ? Asked::one_by_name : Asked::list, options_.format);
    if (first_error) return *first_error;
    if (is_table() && !has_table) session_.err() << nothing_found(selections) << '\n';
    return {};
  }

  /// Ends only with an interrupt or an error.
  Result<void> watch(const Selection& selection) {
    if (selection.names.size() > 1) return Error(ErrorCode::invalid, "-w takes one name or none");
    IRONCORE_TRY(store::Store* const store, session_.store());
    IRONCORE_TRY(store::Query query, query_of(selection));
    if (!selection.names.empty()) {
      if (!options_.fields.empty()) return Error(ErrorCode::invalid, "-w takes a name or --field-selector, not both");
      IRONCORE_TRY(query.fields, store::FieldSelector::parse("metadata.name=" + selection.names.front()));
    }
    Table table = new_table(*selection.kind);
    bool has_printed = false;
    for (;;) {
      IRONCORE_TRY(const auto page, store->list(query));
      for (const api::Object& object : page.objects) show(table, object, "");
      if (is_table() && !has_printed) table.print(session_.out(), session_.terminal());
      if (is_table() && has_printed) table.print_more(session_.out());
      has_printed = true;
      auto opened = store->watch(query, page.revision);
      if (!opened && opened.error().code() == ErrorCode::gone) continue;
      IRONCORE_TRY(const auto changes_of, std::move(opened));
      for (;;) {
        // Not for ever: when nothing changes, it is seen all the same that nobody reads any more.
        auto changes = changes_of->next(session_.clock().now() + std::chrono::seconds(1), session_.stop());
        if (!changes && changes.error().code() == ErrorCode::gone) break;
        IRONCORE_CHECK(changes);
        for (const store::Change& change : *changes) {
          if (change.object) show(table, *change.object, word(change.type));
        }
        if (is_table()) table.print_more(session_.out());
        IRONCORE_CHECK(session_.flush());
        if (session_.stop().stop_requested()) return {};
      }
    }
  }

 private:
  bool is_table() const { return options_.format == OutputFormat::table || options_.format == OutputFormat::wide; }

  static std::string_view word(store::Change::Type type) {
    switch (type) {
      case store::Change::Type::added:
        return "added";
      case store::Change::Type::modified:
        return "modified";
      case store::Change::Type::deleted:
        return "deleted";
      case store::Change::Type::bookmark:
        break;
    }
    return "";
  }

  Result<store::Query> query_of(const Selection& selection) const {
    store::Query query{.kind = selection.kind};
    if (!options_.is_all_namespaces) query.namespace_ = session_.namespace_of(*selection.kind);
    IRONCORE_TRY(query.labels, store::LabelSelector::parse(options_.labels));
    IRONCORE_TRY(query.fields, store::FieldSelector::parse(options_.fields));
    if (const std::string* state = query.fields.required("status.state")) {
      IRONCORE_CHECK(within(check_state(*selection.kind, *state), "--field-selector"));
    }
    return query;
  }

  static Result<std::vector<api::Object>> list(store::Store& store, const store::Query& query) {
    std::vector<api::Object> all;
    store::ListOptions paging{.limit = 1000};
    do {
      IRONCORE_TRY(auto page, store.list(query, paging));
      all.insert(all.end(), page.objects.begin(), page.objects.end());
      paging.continue_at = page.continue_at;
    } while (!paging.continue_at.empty());
    return all;
  }

  bool has_namespace_column(const api::Kind& kind) const {
    return options_.is_all_namespaces && kind.info().scope == api::Scope::namespaced;
  }

  Table new_table(const api::Kind& kind) const {
    std::vector<std::string> headers;
    if (options_.is_watch) headers.emplace_back(change_header);
    if (has_namespace_column(kind)) headers.emplace_back("Namespace");
    for (const api::Column& column : kind.columns()) {
      if (!column.is_wide || options_.format == OutputFormat::wide) headers.emplace_back(column.header);
    }
    return Table(std::move(headers));
  }

  std::vector<std::string> row(const api::Object& object, std::string_view change) const {
    std::vector<std::string> cells;
    if (options_.is_watch) cells.emplace_back(change);
    if (has_namespace_column(object.kind())) cells.push_back(object.metadata().namespace_);
    const auto all = object.kind().cells(object, session_.clock().wall());
    const auto columns = object.kind().columns();
    for (std::size_t i = 0; i < columns.size() && i < all.size(); ++i) {
      if (!columns[i].is_wide || options_.format == OutputFormat::wide) cells.push_back(all[i]);
    }
    return cells;
  }

  void show(Table& table, const api::Object& object, std::string_view change) {
    if (is_table()) {
      table.add(row(object, change));
    } else {
      if (options_.format == OutputFormat::yaml) session_.out() << "---\n";
      session_.out() << text_of(object, options_.format);
    }
  }

  std::string nothing_found(const std::vector<Selection>& selections) const {
    std::string text = "no ";
    for (const Selection& selection : selections) {
      if (&selection != &selections.front()) text += " or ";
      text += selection.kind->info().plural;
    }
    const bool is_namespaced = std::any_of(selections.begin(), selections.end(), [](const Selection& s) {
      return s.kind->info().scope == api::Scope::namespaced;
    });
    if (is_namespaced && !options_.is_all_namespaces) text += " in namespace " + session_.namespace_();
    return text;
  }

  Session& session_;
  const GetOptions& options_;
};

}  // namespace

Result<void> get(Session& session, const GetOptions& options) {
  IRONCORE_TRY(const auto selections, parse_selections(options.words));
  Getter getter(session, options);
  if (!options.is_watch) return getter.once(selections);
  if (selections.size() != 1) return Error(ErrorCode::invalid, "-w takes one kind");
  return getter.watch(selections.front());
}

}  // namespace ironcore::ctl
