// SPDX-License-Identifier: Apache-2.0
// Documents to changes, and errors back to lines of files.
#include "ironcorectl/dataplane_files.hpp"

#include <algorithm>
#include <iterator>
#include <string_view>

#include "ironcore/network/configuration_json.hpp"

namespace ironcore::ctl {
namespace {

/// A batch may take 15 MiB as JSON, so that what is larger could not be applied anyway. YAML takes up to twice as much.
constexpr api::ManifestLimits batch_limits{.file_bytes = 32 * 1024 * 1024,
                                           .values = 2'000'000,
                                           .json_bytes = network::max_configuration_json,
                                           .all_json_bytes = 2 * network::max_configuration_json};

/// Of errors; each one has to be looked for in the file. A server tells as many, and in a last one without a field how many more there are.
constexpr std::size_t most_lines = 64;

/// `changes[3].prefix` as the number and what follows it; false if it names no change.
bool split_field(std::string_view field, std::size_t& index, std::string_view& rest) {
  constexpr std::string_view start = "changes[";
  if (!field.starts_with(start)) return false;
  std::size_t at = start.size();
  index = 0;
  while (at < field.size() && field[at] >= '0' && field[at] <= '9')
    index = index * 10 + static_cast<std::size_t>(field[at++] - '0');
  if (at == field.size() || field[at] != ']') return false;
  rest = field.substr(at + 1);
  return true;
}

void add_line(std::string& text, const std::string& line) {
  text += (text.empty() ? "" : "\n") + line;
}

std::string located_line(const FieldError& error, const Document& document, std::optional<std::size_t> item,
                         std::string_view rest) {
  std::string path;
  if (item) path = (document.document.json().starts_with('[') ? "[" : "items[") + std::to_string(*item) + "]";
  path += rest;
  if (path.starts_with('.')) path.erase(0, 1);
  const Error in_document(std::vector{FieldError{path, error.reason, error.message}});
  return api::locate(in_document, document.document, document.name).front();
}

/// A line for each of the first ones, and how many more there are. `origin_of` a change: null if it has none.
template <class OriginOf>
std::string located_lines(const std::vector<FieldError>& fields, const std::vector<Document>& documents,
                          OriginOf origin_of) {
  std::string text;
  for (std::size_t i = 0; i < fields.size(); ++i) {
    if (i == most_lines && !fields[i].field.empty()) {
      add_line(text, "… and " + std::to_string(fields.size() - most_lines) + " more");
      break;
    }
    std::size_t index = 0;
    std::string_view rest;
    std::optional<DataplaneBatch::Origin> origin;
    if (split_field(fields[i].field, index, rest)) origin = origin_of(index);
    add_line(text, origin ? located_line(fields[i], documents[origin->document], origin->item, rest)
                          : (fields[i].field.empty() ? "" : fields[i].field + ": ") + fields[i].message);
  }
  return text;
}

/// Whether it holds changes one by one; what is no list at all is refused by their reader.
bool is_list(const Document& document) {
  const auto& json = document.document.json();
  return json.starts_with('[') ||
         (json.find("\"items\":") != std::string::npos && json.find("\"List\"") != std::string::npos);
}

}  // namespace

Error DataplaneBatch::located(const Error& error) const {
  if (error.fields().empty()) return error;
  return {error.code(), located_lines(error.fields(), documents, [&](std::size_t change) {
            return change < origins.size() ? std::optional(origins[change]) : std::nullopt;
          })};
}

Result<DataplaneBatch> read_batch(Session& session, const std::vector<std::string>& files) {
  if (files.empty()) return Error(ErrorCode::invalid, "-f FILE is missing");
  DataplaneBatch batch;
  IRONCORE_TRY(batch.documents, read_documents(session, files, batch_limits));
  std::string wrong;
  std::size_t wrong_documents = 0;
  for (std::size_t i = 0; i < batch.documents.size(); ++i) {
    const auto& document = batch.documents[i];
    const bool has_items = is_list(document);
    const auto origin_of = [&](std::size_t change) {
      return std::optional(DataplaneBatch::Origin{i, has_items ? std::optional(change) : std::nullopt});
    };
    auto changes = network::parse_changes(document.document.json());
    if (!changes) {
      if (++wrong_documents > most_lines) continue;
      const auto& error = changes.error();
      add_line(wrong, error.fields().empty() ? document.name + ": " + error.message()
                                             : located_lines(error.fields(), batch.documents, origin_of));
      continue;
    }
    for (std::size_t change = 0; change < changes->size(); ++change) batch.origins.push_back(*origin_of(change));
    std::move(changes->begin(), changes->end(), std::back_inserter(batch.changes));
  }
  if (wrong_documents > most_lines)
    add_line(wrong, "… and in " + std::to_string(wrong_documents - most_lines) + " more documents");
  if (!wrong.empty()) return Error(ErrorCode::invalid, wrong);
  if (batch.changes.empty()) return Error(ErrorCode::invalid, "there is no object in " + files.front());
  return batch;
}

}  // namespace ironcore::ctl
