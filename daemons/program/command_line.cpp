// SPDX-License-Identifier: Apache-2.0
// Reads a command line with CLI11. The only file that includes it: it takes as long to compile as ten others.
#include "program/command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
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
      const std::string name = flag.substr(std::min(flag.size(), flag.find_first_not_of('-')));
      return fail(command, "unknown flag " + flag + nearest_setting(name, settings, "--"));
    }
    if (!command.commands.empty()) {
      std::vector<std::string> names;
      for (const Command& each : command.commands) names.push_back(each.name);
      return fail(command, "unknown command \"" + word + '"' + did_you_mean(word, names));
    }
    return too_many(command, word);
  }

  Reading too_many(const Command& command, const std::string& word) {
    return fail(command, "one argument too many: \"" + word + '"');
  }

 private:
  const Command& program_;
  std::ostream& err_;
};

/// The words after `--`, taken away: all of them are arguments. CLI11 forgets that between a command and its program.
Words take_rest(Words& words) {
  const auto mark = std::find(words.begin(), words.end(), "--");
  if (mark == words.end()) return {};
  Words rest(mark + 1, words.end());
  words.erase(mark, words.end());
  return rest;
}

/// The words as people write them, in the form that CLI11 takes: `help get` is `get --help`, `-o=json` is `-ojson`.
Words plain_words(const Command& program, Words words) {
  const bool has_help = std::any_of(program.commands.begin(), program.commands.end(),
                                    [](const Command& command) { return command.name == "help"; });
  if (!words.empty() && words.front() == "help" && !has_help) {
    words.erase(words.begin());
    words.emplace_back("--help");
  }
  for (std::string& word : words) {
    if (word.size() > 3 && word[0] == '-' && word[1] != '-' && word[2] == '=') word.erase(2, 1);
  }
  return words;
}

/// `--namespace` of CLI11's `--namespace: 1 required …`, `Could not convert: --wait = …`.
std::string flag_of(const std::string& message) {
  const auto begin = std::min(message.find("--"), message.size());
  return message.substr(begin, message.find_first_of(": ", begin) - begin);
}

}  // namespace

Reading read_command_line(const Command& program, int argc, const char* const* argv, std::ostream& out,
                          std::ostream& err) {
  CLI::App app;
  Collected collected;
  fill(app, program, collected);
  // After the command its name is a word like any other: `events machine delete` deletes nothing.
  app.require_subcommand(0, 1);
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
  Words all(argv + std::min(argc, 1), argv + argc);
  const Words rest = take_rest(all);
  try {
    Words words = plain_words(program, std::move(all));
    std::reverse(words.begin(), words.end());  // CLI11 takes them from the back
    app.parse(std::move(words));
  } catch (const CLI::ArgumentMismatch& error) {
    return reader.fail(*chosen_command(), flag_of(error.what()) + " needs a value");
  } catch (const CLI::ConversionError& error) {
    return reader.fail(*chosen_command(), flag_of(error.what()) + " takes no value");
  } catch (const CLI::Error& error) {
    return reader.fail(*chosen_command(), error.what());
  }
  const Command& command = *chosen_command();
  if (collected.is_help) {
    out << help_text(program, command);
    return {};
  }
  if (const Words left = app.remaining(true); !left.empty()) {
    for (const std::string& word : left) {
      if (word.size() > 1 && word[0] == '-') return reader.leftover(command, word);
    }
    return reader.leftover(command, left.front());
  }
  if (!command.run) return reader.fail(command, "a command is missing");
  if (command.arguments.empty() && !rest.empty()) return reader.too_many(command, rest.front());

  Reading reading{.command = &command};
  for (const auto& [setting, words] : collected.settings) {
    if (const auto done = setting->set(words); !done) {
      return reader.fail(command, "--" + setting->name + ": " + done.error().message());
    }
    reading.given.insert(setting->name);
  }
  for (const Argument& argument : command.arguments) {
    Words given;
    for (const auto& [which, values] : collected.arguments) {
      if (which == &argument) given = values;
    }
    if (&argument == &command.arguments.back()) given.insert(given.end(), rest.begin(), rest.end());
    if (given.size() > argument.most) return reader.too_many(command, given[argument.most]);
    if (given.size() < argument.least) return reader.fail(command, argument.name + " is missing: " + argument.help);
    if (argument.target) *argument.target = std::move(given);
  }
  return reading;
}

}  // namespace ironcore::program
