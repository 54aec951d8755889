// SPDX-License-Identifier: Apache-2.0
// The text of --help: usage, examples first, then the flags.
#include <algorithm>

#include "program/command_line.hpp"

namespace ironcore::program {
namespace {

constexpr std::size_t widest_left = 32;

std::string left_of(const Setting& setting) {
  std::string left = setting.letter ? std::string("  -") + setting.letter + ", --" : "      --";
  left += setting.name;
  if (!setting.placeholder.empty()) left += ' ' + setting.placeholder;
  return left;
}

std::string right_of(const Setting& setting) {
  std::string right = setting.help;
  if (setting.form == Setting::Form::many || setting.form == Setting::Form::map) right += " (repeatable)";
  if (setting.form == Setting::Form::one && setting.get) {
    const auto value = setting.get();
    if (!value.empty() && !value.back().empty()) right += " (default " + value.back() + ')';
  }
  return right;
}

void add_rows(std::string& text, const std::vector<std::pair<std::string, std::string>>& rows) {
  std::size_t width = 0;
  for (const auto& [left, right] : rows) {
    if (left.size() <= widest_left) width = std::max(width, left.size());
  }
  for (const auto& [left, right] : rows) {
    text += left;
    if (left.size() > width) {
      text += '\n' + std::string(width + 2, ' ');
    } else {
      text += std::string(width + 2 - left.size(), ' ');
    }
    text += right + '\n';
  }
}

void add_settings(std::string& text, std::string_view title, const std::vector<Setting>& settings) {
  if (settings.empty()) return;
  text += '\n' + std::string(title) + ":\n";
  std::vector<std::pair<std::string, std::string>> rows;
  for (const Setting& setting : settings) rows.emplace_back(left_of(setting), right_of(setting));
  add_rows(text, rows);
}

}  // namespace

std::string help_text(const Command& program, const Command& command) {
  const bool is_program = &program == &command;
  std::string text = command.summary + "\n\nUsage: " + program.name;
  if (!is_program) text += ' ' + command.name;
  if (!command.commands.empty()) text += command.run ? " [COMMAND]" : " COMMAND";
  for (const Argument& argument : command.arguments) {
    std::string word = argument.name;
    if (argument.most > 1 && word.find("…") == std::string::npos) word += "…";
    if (argument.least == 0) word = '[' + word + ']';
    text += ' ' + word;
  }
  text += " [FLAGS]\n";

  if (!command.examples.empty()) {
    text += "\nExamples:\n";
    std::string_view rest = command.examples;
    while (!rest.empty()) {
      const auto end = rest.find('\n');
      text += "  " + std::string(rest.substr(0, end)) + '\n';
      rest = end == std::string_view::npos ? std::string_view() : rest.substr(end + 1);
    }
  }
  if (!command.commands.empty()) {
    text += "\nCommands:\n";
    std::vector<std::pair<std::string, std::string>> rows;
    for (const Command& each : command.commands) rows.emplace_back("  " + each.name, each.summary);
    add_rows(text, rows);
  }
  if (!command.arguments.empty()) {
    text += "\nArguments:\n";
    std::vector<std::pair<std::string, std::string>> rows;
    for (const Argument& argument : command.arguments) rows.emplace_back("  " + argument.name, argument.help);
    add_rows(text, rows);
  }
  add_settings(text, "Flags", command.settings);
  if (!is_program) add_settings(text, "Flags of every command", program.settings);
  if (is_program) {
    text +=
        "\nExit codes: 0 it is done, 1 it did not work, 2 the command line, the config file or a manifest is wrong.\n";
  }
  return text;
}

}  // namespace ironcore::program
