// SPDX-License-Identifier: Apache-2.0
// The forms of settings: how each is read from text and printed.
#include "program/setting.hpp"

#include <charconv>

#include "ironcore/base/names.hpp"
#include "ironcore/base/quantity.hpp"

namespace ironcore::program {
namespace {

Error expected(std::string_view what, std::string_view given) {
  return {ErrorCode::invalid, "expected " + std::string(what) + ", not \"" + std::string(given) + '"'};
}

}  // namespace

Setting text(std::string name, std::string& target, std::string placeholder, std::string help) {
  return {.name = std::move(name),
          .placeholder = std::move(placeholder),
          .help = std::move(help),
          .set = [&target](const std::vector<std::string>& given) -> Result<void> {
            target = given.back();
            return {};
          },
          .get = [&target] { return std::vector{target}; }};
}

Setting optional_text(std::string name, std::optional<std::string>& target, std::string placeholder, std::string help) {
  return {.name = std::move(name),
          .placeholder = std::move(placeholder),
          .help = std::move(help),
          .set = [&target](const std::vector<std::string>& given) -> Result<void> {
            target = given.back();
            return {};
          },
          .get = [&target] { return target ? std::vector{*target} : std::vector<std::string>(); }};
}

Setting texts(std::string name, std::vector<std::string>& target, std::string placeholder, std::string help) {
  return {.name = std::move(name),
          .form = Setting::Form::many,
          .placeholder = std::move(placeholder),
          .help = std::move(help),
          .set = [&target](const std::vector<std::string>& given) -> Result<void> {
            target = given;
            return {};
          },
          .get = [&target] { return target; }};
}

Setting path(std::string name, std::filesystem::path& target, std::string help) {
  return {.name = std::move(name),
          .placeholder = "PATH",
          .help = std::move(help),
          .set = [&target](const std::vector<std::string>& given) -> Result<void> {
            if (given.back().empty()) return expected("a path", "");
            target = given.back();
            return {};
          },
          .get = [&target] { return target.empty() ? std::vector<std::string>() : std::vector{target.string()}; }};
}

Setting toggle(std::string name, bool& target, std::string help) {
  return {.name = std::move(name),
          .form = Setting::Form::toggle,
          .help = std::move(help),
          .set = [&target](const std::vector<std::string>& given) -> Result<void> {
            if (given.back() != "true" && given.back() != "false") return expected("true or false", given.back());
            target = given.back() == "true";
            return {};
          },
          .get = [&target] { return std::vector<std::string>{target ? "true" : "false"}; }};
}

Setting duration(std::string name, Duration& target, std::string help) {
  return {.name = std::move(name),
          .placeholder = "TIME",
          .help = std::move(help),
          .set = [&target](const std::vector<std::string>& given) -> Result<void> {
            const auto parsed = parse_duration(given.back());
            if (!parsed || *parsed < Duration::zero()) return expected("a time such as 90s, 5m or 1h30m", given.back());
            target = *parsed;
            return {};
          },
          .get = [&target] { return std::vector{to_text(target)}; }};
}

Setting bytes(std::string name, std::uint64_t& target, std::string help) {
  return {.name = std::move(name),
          .placeholder = "BYTES",
          .help = std::move(help),
          .set = [&target](const std::vector<std::string>& given) -> Result<void> {
            const auto parsed = Quantity::parse(given.back());
            if (!parsed || parsed->sign() < 0) return expected("a size such as 512Mi or 4G", given.back());
            target = static_cast<std::uint64_t>(parsed->value());
            return {};
          },
          .get = [&target] { return std::vector{Quantity::bytes(static_cast<std::int64_t>(target)).to_text()}; }};
}

Setting count(std::string name, std::uint64_t& target, std::string help) {
  return {.name = std::move(name),
          .placeholder = "N",
          .help = std::move(help),
          .set = [&target](const std::vector<std::string>& given) -> Result<void> {
            const std::string& word = given.back();
            std::uint64_t number = 0;
            const auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), number);
            if (error != std::errc() || end != word.data() + word.size()) return expected("a whole number", word);
            target = number;
            return {};
          },
          .get = [&target] { return std::vector{std::to_string(target)}; }};
}

Setting labels(std::string name, std::map<std::string, std::string>& target, std::string help) {
  return {.name = std::move(name),
          .form = Setting::Form::map,
          .placeholder = "KEY=VALUE",
          .help = std::move(help),
          .set = [&target](const std::vector<std::string>& given) -> Result<void> {
            std::map<std::string, std::string> parsed;
            for (const std::string& pair : given) {
              const auto equals = pair.find('=');
              if (equals == std::string::npos) return expected("KEY=VALUE", pair);
              const std::string key = pair.substr(0, equals), value = pair.substr(equals + 1);
              if (const auto wrong = check_label_key(key))
                return Error(ErrorCode::invalid, "key \"" + key + "\" " + *wrong);
              if (const auto wrong = check_label_value(value)) {
                return Error(ErrorCode::invalid, "value \"" + value + "\" " + *wrong);
              }
              parsed[key] = value;
            }
            target = std::move(parsed);
            return {};
          },
          .get =
              [&target] {
                std::vector<std::string> pairs;
                for (const auto& [key, value] : target) pairs.push_back(key + '=' + value);
                return pairs;
              }};
}

Setting with_letter(char letter, Setting setting) {
  setting.letter = letter;
  return setting;
}

std::string nearest_setting(std::string_view word, const std::vector<const Setting*>& settings,
                            std::string_view prefix) {
  std::vector<std::string_view> names;
  for (const Setting* setting : settings) names.push_back(setting->name);
  const auto found = nearest(word, names);
  return found ? " (did you mean " + std::string(prefix) + std::string(*found) + "?)" : "";
}

Result<std::size_t> find_choice(const std::string& word, const std::vector<std::string>& choices) {
  std::string all;
  for (std::size_t i = 0; i < choices.size(); ++i) {
    if (choices[i] == word) return i;
    all += (i == 0 ? "" : i + 1 == choices.size() ? " or " : ", ") + choices[i];
  }
  return expected(all, word);
}

}  // namespace ironcore::program
