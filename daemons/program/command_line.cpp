// SPDX-License-Identifier: Apache-2.0
// Reads a command line with CLI11. The only file that includes it: it takes as long to compile as ten others.
#include "program/command_line.hpp"

#include <CLI/CLI.hpp>
#include <ostream>

#include "ironcore/base/names.hpp"

namespace ironcore::program {
namespace {

using Words = std::vector<std::string>;

/// Collects what was given; values are set afterwards, so that help wins over a wrong value.
struct Collected {
  std::vector<std::pair<const Setting*, Words>> settings;
  std::vector<std::pair<const Argument*, Words>> arguments;
  bool is_help = false;
};

void add(CLI::App& app, const Setting& setting, Collected& collected) {
  const std::string names = (setting.letter ? std::string("-") + setting.letter + "," : "") + "--" + setting.name;
  if (setting.form == Setting::Form::toggle) {
    app.add_flag_callback(names, [&] { collected.settings.emplace_back(&setting, Words{"true"}); });
    return;
  }
  CLI::Option* option = app.add_option(names, [&](const CLI::results_t& given) {
    collected.settings.emplace_back(&setting, given);
    return true;
  });
  option->type_size(1)->expected(1, CLI::detail::expected_max_vector_size)->allow_extra_args(false);
  option->multi_option_policy(CLI::MultiOptionPolicy::TakeAll);
}

void fill(CLI::App& app, const Command& command, Collected& collected) {
  app.set_help_flag();
  app.allow_extras();
  app.add_flag_callback("-h,--help", [&] { collected.is_help = true; });
  for (const Setting& setting : command.settings) add(app, setting, collected);
  for (const Argument& argument : command.arguments) {
    CLI::Option* option = app.add_option(argument.name, [&](const CLI::results_t& given) {
      collected.arguments.emplace_back(&argument, given);
      return true;
    });
    // CLI11 fills a place up to its minimum; only with extra arguments allowed does it go on from there.
    option->type_size(1)->expected(1, static_cast<int>(argument.most))->allow_extra_args(argument.most > 1);
  }
}

class Reader {
 public:
  Reader(const Command& program, std::ostream& err) : program_(program), err_(err) {}

  Reading fail(const Command& command, const std::string& message) {
    err_ << "error: " << message << "; see `" << program_.name;
    if (&command != &program_) err_ << ' ' << command.name;
    err_ << " --help`\n";
    return {.exit_code = exit_usage};
  }

  Reading leftover(const Command& command, const std::string& word) {
    if (word.size() > 1 && word[0] == '-') {
      std::vector<const Setting*> settings;
      for (const Setting& setting : command.settings) settings.push_back(&setting);
      if (&command != &program_) {
        for (const Setting& setting : program_.settings) settings.push_back(&setting);
      }
      const std::string flag = word.substr(0, word.find('='));
      return fail(command,
                  "unknown flag " + flag + nearest_setting(flag.substr(flag.find_first_not_of('-')), settings, "--"));
    }
    if (!command.commands.empty()) {
      std::vector<std::string> names;
      for (const Command& each : command.commands) names.push_back(each.name);
      return fail(command, "unknown command \"" + word + '"' + did_you_mean(word, names));
    }
    return fail(command, "one argument too many: \"" + word + '"');
  }

 private:
  const Command& program_;
  std::ostream& err_;
};

}  // namespace

Reading read_command_line(const Command& program, int argc, const char* const* argv, std::ostream& out,
                          std::ostream& err) {
  CLI::App app;
  Collected collected;
  fill(app, program, collected);
  std::vector<std::pair<CLI::App*, const Command*>> commands;
  for (const Command& command : program.commands) {
    CLI::App* sub = app.add_subcommand(command.name);
    sub->fallthrough();
    fill(*sub, command, collected);
    commands.emplace_back(sub, &command);
  }

  Reader reader(program, err);
  const auto chosen_command = [&] {
    for (const auto& [sub, command] : commands) {
      if (sub->parsed()) return command;
    }
    return &program;
  };
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return reader.fail(*chosen_command(), error.what());
  }
  const Command& command = *chosen_command();
  if (collected.is_help) {
    out << help_text(program, command);
    return {};
  }
  if (const Words words = app.remaining(true); !words.empty()) {
    for (const std::string& word : words) {
      if (word.size() > 1 && word[0] == '-' && word != "--") return reader.leftover(command, word);
    }
    return reader.leftover(command, words.front());
  }
  if (!command.run) return reader.fail(command, "a command is missing");

  Reading reading{.command = &command};
  for (const auto& [setting, words] : collected.settings) {
    if (const auto done = setting->set(words); !done) {
      return reader.fail(command, "--" + setting->name + ": " + done.error().message());
    }
    reading.given.insert(setting->name);
  }
  for (const Argument& argument : command.arguments) {
    Words words;
    for (const auto& [which, values] : collected.arguments) {
      if (which == &argument) words = values;
    }
    if (words.size() < argument.least) return reader.fail(command, argument.name + " is missing: " + argument.help);
    if (argument.target) *argument.target = std::move(words);
  }
  return reading;
}

}  // namespace ironcore::program
