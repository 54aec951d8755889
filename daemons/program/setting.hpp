// SPDX-License-Identifier: Apache-2.0
// Setting: one thing that a person may set, as a flag and, for daemons, as a key of the config file.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ironcore/base/clock.hpp"
#include "ironcore/base/result.hpp"

namespace ironcore::program {

/// A value that can be set from text and printed again. It refers to a variable of the program that outlives
/// it.
struct Setting {
  enum class Form {
    one,     ///< exactly one value; the last one given wins
    many,    ///< repeatable; a list in the config file
    map,     ///< repeatable `key=value`; a mapping in the config file
    toggle,  ///< no value: given = yes; `true` or `false` in the config file
  };

  std::string name;  ///< `pool-name`: the flag `--pool-name` and the key `pool-name`
  char letter = 0;   ///< the short flag, if there is one
  Form form = Form::one;
  std::string placeholder;           ///< `NAME`; what stands for the value in the help
  std::string help;                  ///< one line
  std::vector<std::string> choices;  ///< the words that are allowed; empty = any
  /// Takes all the texts given at once. The error says what was expected, not which setting it is.
  std::function<Result<void>(const std::vector<std::string>&)> set;
  /// The present value, as texts that `set` takes.
  std::function<std::vector<std::string>()> get;
};

Setting text(std::string name, std::string& target, std::string placeholder, std::string help);
Setting optional_text(std::string name, std::optional<std::string>& target, std::string placeholder, std::string help);
Setting texts(std::string name, std::vector<std::string>& target, std::string placeholder, std::string help);
Setting path(std::string name, std::filesystem::path& target, std::string help);
Setting toggle(std::string name, bool& target, std::string help);
/// `90s`, `5m`, `1h30m`; not negative.
Setting duration(std::string name, Duration& target, std::string help);
/// `512Mi`, `4G`, `1048576`; a whole number of bytes.
Setting bytes(std::string name, std::uint64_t& target, std::string help);
Setting count(std::string name, std::uint64_t& target, std::string help);
/// `key=value` pairs that are legal labels.
Setting labels(std::string name, std::map<std::string, std::string>& target, std::string help);

/// One of the words of `values`, in their order.
template <class E>
Setting choice(std::string name, E& target, std::vector<std::pair<std::string, E>> values, std::string help);

/// The same setting with a short flag: `with_letter('n', text("namespace", …))`.
Setting with_letter(char letter, Setting setting);

/// ` (did you mean --pool-name?)` for an unknown flag or key, or nothing.
std::string nearest_setting(std::string_view word, const std::vector<const Setting*>& settings,
                            std::string_view prefix);

// ---- details
// ------------------------------------------------------------------------------------------------------

Result<std::size_t> find_choice(const std::string& word, const std::vector<std::string>& choices);

template <class E>
Setting choice(std::string name, E& target, std::vector<std::pair<std::string, E>> values, std::string help) {
  Setting setting{.name = std::move(name), .help = std::move(help)};
  for (const auto& value : values) {
    if (!setting.placeholder.empty()) setting.placeholder += '|';
    setting.placeholder += value.first;
    setting.choices.push_back(value.first);
  }
  setting.set = [&target, values, words = setting.choices](const std::vector<std::string>& given) -> Result<void> {
    IRONCORE_TRY(const std::size_t index, find_choice(given.back(), words));
    target = values[index].second;
    return {};
  };
  setting.get = [&target, values]() -> std::vector<std::string> {
    for (const auto& value : values) {
      if (value.second == target) return {value.first};
    }
    return {};
  };
  return setting;
}

}  // namespace ironcore::program
