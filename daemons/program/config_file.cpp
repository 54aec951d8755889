// SPDX-License-Identifier: Apache-2.0
// Reads and prints config files with yaml-cpp.
#include "program/config_file.hpp"

#include <yaml-cpp/yaml.h>

#include <algorithm>
#include <map>

#include "ironcore/base/file.hpp"

namespace ironcore::program {
namespace {

constexpr std::size_t max_config_bytes = 1 << 20;

class ConfigReader {
 public:
  ConfigReader(std::string file, const std::vector<const Setting*>& settings, const std::set<std::string>& already)
      : file_(std::move(file)), settings_(settings), already_(already) {}

  Result<void> read_mapping(const YAML::Node& mapping, const std::string& prefix) {
    for (const auto& entry : mapping) {
      if (!entry.first.IsScalar()) return error(entry.first, "a key must be a word");
      const std::string name = prefix + entry.first.Scalar();
      const Setting* setting = find(name);
      if (setting) {
        IRONCORE_CHECK(read_setting(*setting, entry.first, entry.second));
      } else if (entry.second.IsMap() && has_prefix(name + '-')) {
        IRONCORE_CHECK(read_mapping(entry.second, name + '-'));
      } else {
        return error(entry.first, "unknown key \"" + name + '"' + nearest_setting(name, settings_, ""));
      }
    }
    return {};
  }

  Error error(const YAML::Node& at, const std::string& message) const { return error(at.Mark(), message); }
  Error error(const YAML::Mark& at, const std::string& message) const {
    const std::string where =
        at.is_null() ? file_ : file_ + ':' + std::to_string(at.line + 1) + ':' + std::to_string(at.column + 1);
    return {ErrorCode::invalid, where + ": " + message};
  }

 private:
  const Setting* find(const std::string& name) const {
    const auto found =
        std::find_if(settings_.begin(), settings_.end(), [&](const Setting* s) { return s->name == name; });
    return found == settings_.end() ? nullptr : *found;
  }
  bool has_prefix(const std::string& prefix) const {
    return std::any_of(settings_.begin(), settings_.end(),
                       [&](const Setting* s) { return s->name.starts_with(prefix); });
  }

  Result<void> read_setting(const Setting& setting, const YAML::Node& key, const YAML::Node& value) {
    if (!seen_.insert(setting.name).second) return error(key, '"' + setting.name + "\" is given twice");
    std::vector<std::string> words;
    if (value.IsScalar()) {
      words.push_back(value.Scalar());
    } else if (value.IsSequence() && setting.form == Setting::Form::many) {
      for (const auto& each : value) {
        if (!each.IsScalar()) return error(each, setting.name + ": expected a list of words");
        words.push_back(each.Scalar());
      }
    } else if (value.IsMap() && setting.form == Setting::Form::map) {
      for (const auto& each : value) {
        if (!each.first.IsScalar() || !each.second.IsScalar())
          return error(key, setting.name + ": expected key: value");
        words.push_back(each.first.Scalar() + '=' + each.second.Scalar());
      }
    } else if (value.IsNull()) {
      return error(key, setting.name + ": a value is missing");
    } else {
      return error(value, setting.name + ": expected " +
                              (setting.form == Setting::Form::many  ? "a list of words"
                               : setting.form == Setting::Form::map ? "a mapping"
                                                                    : "one value"));
    }
    if (already_.contains(setting.name)) return {};
    if (words.empty()) return {};
    if (const auto done = setting.set(words); !done) return error(value, setting.name + ": " + done.error().message());
    return {};
  }

  std::string file_;
  const std::vector<const Setting*>& settings_;
  const std::set<std::string>& already_;
  std::set<std::string> seen_;
};

}  // namespace

Result<void> read_config_file(const std::filesystem::path& file, const std::vector<const Setting*>& settings,
                              const std::set<std::string>& already) {
  IRONCORE_TRY(const std::string content, read_file(file, max_config_bytes));
  ConfigReader reader(file.string(), settings, already);
  try {
    const YAML::Node root = YAML::Load(content);
    if (root.IsNull()) return {};
    if (!root.IsMap()) return reader.error(root, "expected a mapping of settings");
    return reader.read_mapping(root, "");
  } catch (const YAML::Exception& exception) {
    return reader.error(exception.mark, exception.msg);
  }
}

std::string config_text(const std::vector<const Setting*>& settings) {
  YAML::Emitter out;
  out << YAML::BeginMap;
  for (const Setting* setting : settings) {
    const auto words = setting->get();
    if (words.empty()) continue;
    out << YAML::Newline << YAML::Comment(setting->help) << YAML::Key << setting->name << YAML::Value;
    if (setting->form == Setting::Form::many) {
      out << words;
    } else if (setting->form == Setting::Form::map) {
      out << YAML::BeginMap;
      for (const std::string& pair : words) {
        out << YAML::Key << pair.substr(0, pair.find('=')) << YAML::Value << pair.substr(pair.find('=') + 1);
      }
      out << YAML::EndMap;
    } else {
      out << words.back();
    }
  }
  out << YAML::EndMap;
  return std::string(out.c_str()) + '\n';
}

}  // namespace ironcore::program
