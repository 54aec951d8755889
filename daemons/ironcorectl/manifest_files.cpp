// SPDX-License-Identifier: Apache-2.0
// Finds, reads and checks manifest files.
#include "ironcorectl/manifest_files.hpp"

#include <algorithm>
#include <boost/json.hpp>
#include <cstdio>
#include <filesystem>
#include <istream>
#include <iterator>

#include "ironcore/api/core.hpp"
#include "ironcore/base/base64.hpp"
#include "ironcore/base/file.hpp"

namespace ironcore::ctl {
namespace {

namespace json = boost::json;

struct File {
  std::string name;
  std::string text;
};

Result<File> read_one(const std::filesystem::path& path) {
  IRONCORE_TRY(std::string text, read_file(path, api::max_manifest_size));
  return File{path.string(), std::move(text)};
}

Result<std::vector<File>> read_directory(const std::filesystem::path& directory) {
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
    IRONCORE_TRY(File file, read_one(path));
    files.push_back(std::move(file));
  }
  return files;
}

Result<std::vector<File>> read_argument(Session& session, const std::string& argument) {
  if (argument != "-") {
    std::error_code ignored;
    if (std::filesystem::is_directory(argument, ignored)) return read_directory(argument);
    IRONCORE_TRY(File file, read_one(argument));
    return std::vector<File>{std::move(file)};
  }
  File file{"standard input", ""};
  char buffer[16 * 1024];
  while (session.in().read(buffer, sizeof buffer) || session.in().gcount() > 0) {
    file.text.append(buffer, static_cast<std::size_t>(session.in().gcount()));
    if (file.text.size() > api::max_manifest_size)
      return Error(ErrorCode::exhausted, "standard input: more than 4 MiB");
  }
  return std::vector<File>{std::move(file)};
}

/// Moves `stringData` to `data`, as the server would: so that what is remembered and compared has one form.
void move_string_data(json::object& tree) {
  auto* texts = tree.if_contains("stringData");
  if (!texts || !texts->is_object()) return;
  auto& data = tree["data"];
  if (!data.is_object()) data.emplace_object();
  for (const auto& [key, text] : tree["stringData"].get_object()) {
    data.get_object()[key] = base64_encode(std::string_view(text.as_string()));
  }
  tree.erase("stringData");
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

/// Decodes strictly, then fills in what the person left to the command line.
Result<Manifest> read_object(const Session& session, std::string text, Manifest manifest_of_file) {
  Manifest manifest = std::move(manifest_of_file);
  auto decoded = api::Object::decode(text, api::UnknownFields::refuse);
  if (!decoded) return manifest.located(decoded.error());
  const api::Kind& kind = decoded->kind();
  json::object tree = json::parse(text).as_object();
  if (kind.info().scope == api::Scope::namespaced && decoded->metadata().namespace_.empty()) {
    auto& metadata = tree["metadata"];
    if (!metadata.is_object()) metadata.emplace_object();
    metadata.get_object()["namespace"] = session.namespace_();
  }
  if (decoded->is<api::Secret>()) move_string_data(tree);
  manifest.json = json::serialize(tree);
  IRONCORE_TRY(manifest.object, kind.decode(manifest.json));
  return manifest;
}

/// The objects of a document: itself, or the items of a List.
Result<void> read_document(const Session& session, const std::string& file, api::Manifest document,
                           std::vector<Manifest>& all) {
  const auto shared = std::make_shared<const api::Manifest>(std::move(document));
  Manifest empty{.object = api::Object::of(api::Namespace()), .json = "", .file = file, .document = shared, .path = ""};
  const auto tree = json::parse(shared->json());
  const auto* members = tree.if_object();
  const auto* kind = members ? members->if_contains("kind") : nullptr;
  const auto* items = members ? members->if_contains("items") : nullptr;
  if (!kind || !kind->is_string() || kind->get_string() != "List" || !items || !items->is_array()) {
    IRONCORE_TRY(Manifest manifest, read_object(session, shared->json(), std::move(empty)));
    all.push_back(std::move(manifest));
    return {};
  }
  std::size_t index = 0;
  for (const auto& item : items->get_array()) {
    Manifest one = empty;
    one.path = "items[" + std::to_string(index++) + "].";
    IRONCORE_TRY(Manifest manifest, read_object(session, json::serialize(item), std::move(one)));
    all.push_back(std::move(manifest));
  }
  return {};
}

}  // namespace

Error Manifest::located(const Error& error) const {
  std::vector<FieldError> fields = error.fields();
  for (FieldError& field : fields) field.field.insert(0, path);
  const Error with_path = fields.empty() ? error : Error(std::move(fields));
  std::string text;
  for (const std::string& line : api::locate(with_path, *document, file)) text += (text.empty() ? "" : "\n") + line;
  return {error.code(), std::move(text)};
}

Result<std::vector<Manifest>> read_manifests(Session& session, const std::vector<std::string>& files) {
  std::vector<Manifest> all;
  for (const std::string& argument : files) {
    IRONCORE_TRY(const auto read, read_argument(session, argument));
    for (const File& file : read) {
      auto parsed = api::parse_manifests(file.text);
      if (!parsed) return in_file(parsed.error(), file.name);
      IRONCORE_TRY(auto documents, std::move(parsed));
      for (api::Manifest& document : documents) {
        IRONCORE_CHECK(read_document(session, file.name, std::move(document), all));
      }
    }
  }
  if (all.empty()) return Error(ErrorCode::invalid, "there is no object in " + files.front());
  return all;
}

}  // namespace ironcore::ctl
