// SPDX-License-Identifier: Apache-2.0
// Python: the Store on memory or SQLite. Objects are dicts of their JSON form.
#include "ironcore/store/local_store.hpp"
#include "ironcore/store/sqlite.hpp"
#include "module.hpp"

namespace ironcore::python {
namespace {

using store::Change;
using store::LocalStore;
using store::Query;

using StorePointer = std::shared_ptr<LocalStore>;

/// A watch keeps its store alive, so either may be dropped first.
struct PythonWatch {
  StorePointer store;
  std::unique_ptr<store::Watch> watch;
};

store::Key make_key(const std::string& kind, const std::string& name, const std::string& namespace_) {
  const api::Kind* found = value_of(api::find_kind(kind));
  const bool is_cluster = found->info().scope == api::Scope::cluster;
  return {found, is_cluster ? "" : namespace_, name};
}

Query make_query(const std::string& kind, const std::string& namespace_, const std::string& labels,
                 const std::string& fields) {
  Query query;
  query.kind = value_of(api::find_kind(kind));
  query.namespace_ = query.kind->info().scope == api::Scope::cluster ? "" : namespace_;
  query.labels = value_of(store::LabelSelector::parse(labels));
  query.fields = value_of(store::FieldSelector::parse(fields));
  return query;
}

py::object commit_one(LocalStore& store, store::Operation operation) {
  store::Transaction transaction;
  transaction.operations.push_back(std::move(operation));
  auto committed = [&] {
    py::gil_scoped_release release;
    return store.commit(transaction);
  }();
  return from_json(value_of(std::move(committed)).objects.at(0).json());
}

api::Object object_of(const py::object& value) {
  return value_of(api::Object::decode(to_json(value), api::UnknownFields::refuse));
}

/// A change of a stored object may have the unknown members that the object has.
api::Object changed_object_of(LocalStore& store, const py::object& value) {
  return value_of(
      api::decode_change(to_json(value), [&](const api::Object& meant) { return store.get(store::key_of(meant)); }));
}

const char* word(Change::Type type) {
  switch (type) {
    case Change::Type::added:
      return "added";
    case Change::Type::modified:
      return "modified";
    case Change::Type::deleted:
      return "deleted";
    case Change::Type::bookmark:
      return "bookmark";
  }
  return "bookmark";
}

}  // namespace

void bind_store(py::module_& module) {
  py::class_<PythonWatch>(module, "Watch", "The changes of a query, in order, none left out.")
      .def(
          "next",
          [](PythonWatch& self, double timeout) {
            const Instant deadline = deadline_in(clock(), timeout);
            const auto wait_some = [&] {
              py::gil_scoped_release release;
              return self.watch->next(std::min(deadline, deadline_in(clock(), 0.1)));
            };
            // In small steps, so that Ctrl-C is heard.
            auto changes = wait_some();
            while (changes && changes->empty() && clock().now() < deadline) {
              if (PyErr_CheckSignals() != 0) throw py::error_already_set();
              changes = wait_some();
            }
            py::list list;
            for (const Change& change : value_of(std::move(changes)))
              list.append(py::make_tuple(word(change.type), change.revision.value,
                                         change.object ? from_json(change.object->json()) : py::none()));
            return list;
          },
          py::arg("timeout") = 10.0,
          "A list of (type, revision, object); empty when `timeout` seconds passed. Error 'gone': list again.");

  py::class_<LocalStore, StorePointer>(module, "Store", "The one place where objects live.")
      .def_static("memory", [] { return StorePointer(store::memory_store(clock(), log())); })
      .def_static(
          "sqlite",
          [](const std::string& file) { return StorePointer(value_of(store::sqlite::open(file, clock(), log()))); },
          py::arg("file"), "Opens or creates a durable store; one process at a time.")
      .def(
          "get",
          [](LocalStore& self, const std::string& kind, const std::string& name, const std::string& namespace_) {
            return from_json(value_of(self.get(make_key(kind, name, namespace_))).json());
          },
          py::arg("kind"), py::arg("name"), py::arg("namespace") = "default")
      .def(
          "list",
          [](LocalStore& self, const std::string& kind, const std::string& namespace_, const std::string& labels,
             const std::string& fields) {
            py::list list;
            for (const auto& object : value_of(self.list(make_query(kind, namespace_, labels, fields))).objects)
              list.append(from_json(object.json()));
            return list;
          },
          py::arg("kind"), py::arg("namespace") = "", py::arg("labels") = "", py::arg("fields") = "",
          "All objects of a kind; an empty namespace means all namespaces.")
      .def(
          "create",
          [](LocalStore& self, const py::object& value) { return commit_one(self, store::Create{object_of(value)}); },
          py::arg("object"), "Makes a new object from a dict (or JSON text) and returns it as stored.")
      .def(
          "update",
          [](LocalStore& self, const py::object& value, bool status) {
            return commit_one(self, store::Update{changed_object_of(self, value),
                                                  status ? store::Part::status : store::Part::object});
          },
          py::arg("object"), py::arg("status") = false,
          "Replaces it; fails with 'conflict' if somebody else was faster.")
      .def(
          "patch",
          [](LocalStore& self, const std::string& kind, const std::string& name, const py::object& patch,
             const std::string& namespace_, bool status) {
            return commit_one(self, store::Patch{make_key(kind, name, namespace_), to_json(patch),
                                                 status ? store::Part::status : store::Part::object});
          },
          py::arg("kind"), py::arg("name"), py::arg("patch"), py::arg("namespace") = "default",
          py::arg("status") = false, "Applies an RFC 7386 merge patch.")
      .def(
          "delete",
          [](LocalStore& self, const std::string& kind, const std::string& name, const std::string& namespace_) {
            return commit_one(self, store::Delete{make_key(kind, name, namespace_)});
          },
          py::arg("kind"), py::arg("name"), py::arg("namespace") = "default")
      .def(
          "watch",
          [](const StorePointer& self, const std::string& kind, std::uint64_t revision, const std::string& namespace_,
             const std::string& labels, const std::string& fields) {
            auto watch = value_of(self->watch(make_query(kind, namespace_, labels, fields), api::Revision{revision}));
            return PythonWatch{self, std::move(watch)};
          },
          py::arg("kind"), py::arg("revision") = 0, py::arg("namespace") = "", py::arg("labels") = "",
          py::arg("fields") = "", "Changes after `revision`; 0 = first everything that exists, as 'added'.")
      .def_property_readonly("revision", [](LocalStore& self) { return value_of(self.revision()).value; });
}

}  // namespace ironcore::python
