// SPDX-License-Identifier: Apache-2.0
// Finds, reads and checks manifest files.
#include "ironcorectl/manifest_files.hpp"

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <istream>
#include <iterator>

#include "ironcore/api/core.hpp"
#include "ironcore/api/json.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/store/typed.hpp"

namespace ironcore::ctl {
namespace {

namespace json = api::json;

struct File {
  std::string name;
  std::string text;
};

/// To its end, which may come late.
Result<File> read_stream(std::istream& in, const std::string& name, std::size_t most_bytes) {
  File file{name, ""};
  char buffer[16 * 1024];
  while (in.read(buffer, sizeof buffer) || in.gcount() > 0) {
    file.text.append(buffer, static_cast<std::size_t>(in.gcount()));
    if (file.text.size() > most_bytes)
      return Error(ErrorCode::exhausted, name + ": more than " + std::to_string(most_bytes >> 20) + " MiB");
  }
  return file;
}

Result<File> read_one(const std::filesystem::path& path, std::size_t most_bytes) {
  std::error_code ignored;
  if (std::filesystem::is_fifo(path, ignored)) {  // the shell's <(…)
    std::ifstream in(path);
    return read_stream(in, path.string(), most_bytes);
  }
  IRONCORE_TRY(std::string text, read_file(path, most_bytes));
  return File{path.string(), std::move(text)};
}

Result<std::vector<File>> read_directory(const std::filesystem::path& directory, std::size_t most_bytes) {
  std::vector<std::filesystem::path> paths;
  std::error_code error;
  for (std::filesystem::directory_iterator entry(directory, error), end; !error && entry != end;
       entry.increment(error)) {
    const auto extension = entry->path().extension();
    if (extension == ".yaml" || extension == ".yml" || extension == ".json") paths.push_back(entry->path());
  }
  if (error) return system_error(error.value(), "read " + directory.string());
  if (paths.empty()) return Error(ErrorCode::invalid, directory.string() + ": no .yaml, .yml or .json file in it");
  std::sort(paths.begin(), paths.end());
  std::vector<File> files;
  for (const auto& path : paths) {
    IRONCORE_TRY(File file, read_one(path, most_bytes));
    files.push_back(std::move(file));
  }
  return files;
}

Result<std::vector<File>> read_argument(Session& session, const std::string& argument, std::size_t most_bytes) {
  if (argument != "-") {
    std::error_code ignored;
    if (std::filesystem::is_directory(argument, ignored)) return read_directory(argument, most_bytes);
    IRONCORE_TRY(File file, read_one(argument, most_bytes));
    return std::vector<File>{std::move(file)};
  }
  IRONCORE_TRY(File file, read_stream(session.in(), "standard input", most_bytes));
  return std::vector<File>{std::move(file)};
}

/// `line 3, column 7: …` of the parser as `web.yaml:3:7: …`, which editors understand.
Error in_file(const Error& error, const std::string& file) {
  unsigned line = 0, column = 0;
  int end = 0;
  if (std::sscanf(error.message().c_str(), "line %u, column %u: %n", &line, &column, &end) != 2 || end == 0)
    return error.within(file);
  return {error.code(), file + ':' + std::to_string(line) + ':' + std::to_string(column) + ": " +
                            error.message().substr(static_cast<std::size_t>(end))};
}

/// Reads the objects of files, one after the other.
class Objects {
 public:
  Objects(Session& session, UnknownMembers unknown) : session_(session), unknown_(unknown) {}

  /// The objects of a document: itself, or the items of a List.
  Result<void> add(const std::string& file, api::Manifest document) {
    const auto shared = std::make_shared<const api::Manifest>(std::move(document));
    Manifest one{.object = api::Object::of(api::Namespace()), .json = "", .file = file, .document = shared, .path = ""};
    IRONCORE_TRY(const json::Tree tree, json::parse_tree(shared->json(), json::Nulls::drop));
    const auto* const kind = tree.find("kind");
    const auto* const items = tree.find("items");
    if (!kind || !kind->is_string() || kind->text() != "List" || !items || !items->is_list()) {
      return add_object(std::move(one), shared->json());
    }
    std::size_t index = 0;
    for (const json::Tree& item : items->items) {
      one.path = "items[" + std::to_string(index++) + "].";
      IRONCORE_CHECK(add_object(one, json::to_text(item)));
    }
    return {};
  }

  std::vector<Manifest> take() { return std::move(all_); }

 private:
  /// Decodes strictly, then fills in what the person left to the command line.
  Result<void> add_object(Manifest manifest, std::string_view text) {
    const auto decoded = decode(text);
    if (!decoded) return manifest.located(decoded.error());
    IRONCORE_TRY(json::Tree tree, json::parse_tree(text, json::Nulls::drop));
    if (decoded->kind().info().scope == api::Scope::namespaced && decoded->metadata().namespace_.empty())
      tree.object_at("metadata").set("namespace", json::Tree::string(session_.namespace_()));
    // As the server would: so that what is remembered and compared has one form.
    if (decoded->is<api::Secret>()) api::move_string_data(tree);
    manifest.json = json::to_text(tree);
    IRONCORE_TRY(manifest.object, decoded->kind().decode(manifest.json));
    all_.push_back(std::move(manifest));
    return {};
  }

  Result<api::Object> decode(std::string_view text) {
    if (unknown_ == UnknownMembers::refuse) return api::Object::decode(text, api::UnknownFields::refuse);
    return api::decode_change(text, [&](const api::Object& meant) -> Result<api::Object> {
      IRONCORE_TRY(store::Store* const store, session_.store());
      store::Key key = store::key_of(meant);
      if (key.namespace_.empty()) key.namespace_ = session_.namespace_of(meant.kind());
      return store->get(key);
    });
  }

  Session& session_;
  UnknownMembers unknown_;
  std::vector<Manifest> all_;
};

}  // namespace

Error Manifest::located(const Error& error) const {
  std::vector<FieldError> fields = error.fields();
  for (FieldError& field : fields) field.field.insert(0, path);
  const Error with_path = fields.empty() ? error : Error(std::move(fields));
  std::string text;
  for (const std::string& line : api::locate(with_path, *document, file)) text += (text.empty() ? "" : "\n") + line;
  return {error.code(), std::move(text)};
}

Result<std::vector<Document>> read_documents(Session& session, const std::vector<std::string>& files,
                                             const api::ManifestLimits& limits) {
  std::vector<Document> all;
  for (const std::string& argument : files) {
    IRONCORE_TRY(const auto read, read_argument(session, argument, limits.file_bytes));
    for (const File& file : read) {
      auto parsed = api::parse_manifests(file.text, limits);
      if (!parsed) return in_file(parsed.error(), file.name);
      for (api::Manifest& document : *parsed) all.push_back({file.name, std::move(document)});
    }
  }
  return all;
}

Result<std::vector<Manifest>> read_manifests(Session& session, const std::vector<std::string>& files,
                                             UnknownMembers unknown) {
  Objects objects(session, unknown);
  IRONCORE_TRY(auto documents, read_documents(session, files, {}));
  for (Document& each : documents) {
    IRONCORE_CHECK(objects.add(each.name, std::move(each.document)));
  }
  std::vector<Manifest> all = objects.take();
  if (all.empty()) return Error(ErrorCode::invalid, "there is no object in " + files.front());
  return all;
}

}  // namespace ironcore::ctl
