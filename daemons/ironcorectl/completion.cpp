// SPDX-License-Identifier: Apache-2.0
// Completion scripts, from the same data that the command line is read by. Names of objects are asked for
// with `ironcorectl get KIND -o name`.
#include "ironcorectl/completion.hpp"

#include <algorithm>

#include "ironcore/api/kind.hpp"

namespace ironcore::ctl {
namespace {

using program::Argument;
using program::Command;
using program::Setting;

std::string joined(const std::vector<std::string>& words) {
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : " ") + word;
  return text;
}

std::string flags_of(const std::vector<Setting>& settings) {
  std::vector<std::string> words;
  for (const Setting& setting : settings) {
    words.push_back("--" + setting.name);
    if (setting.letter) words.push_back(std::string("-") + setting.letter);
  }
  return joined(words);
}

/// Flags that take a value, so that the word after them is no argument.
std::string valued_flags(const Command& program) {
  std::vector<std::string> words;
  const auto add = [&](const std::vector<Setting>& settings) {
    for (const Setting& setting : settings) {
      if (setting.form == Setting::Form::toggle) continue;
      for (std::string word : {"--" + setting.name, std::string("-") + setting.letter}) {
        if (word.back() != '\0' && std::find(words.begin(), words.end(), word) == words.end()) words.push_back(word);
      }
    }
  };
  add(program.settings);
  for (const Command& command : program.commands) add(command.settings);
  std::string text;
  for (const std::string& word : words) text += (text.empty() ? "" : "|") + word;
  return text;
}

std::string kinds() {
  std::string text;
  for (const api::Kind* kind : api::kinds()) text += (text.empty() ? "" : " ") + std::string(kind->info().plural);
  return text;
}

/// What stands at the first place: `@kinds`, `@machines`, or words.
std::string first_words(const Command& command) {
  if (command.arguments.empty()) return "";
  return joined(command.arguments.front().choices);
}

std::string command_names(const Command& program) {
  std::vector<std::string> names;
  for (const Command& command : program.commands) names.push_back(command.name);
  return joined(names);
}

std::string in_quotes(std::string_view text) {
  std::string result = "'";
  for (const char c : text) result += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return result + '\'';
}

/// One function for bash; zsh runs it through bashcompinit.
std::string bash_function(const Command& program) {
  std::string text =
      "_ironcorectl() {\n"
      "  local word=\"${COMP_WORDS[COMP_CWORD]}\" before=\"${COMP_WORDS[COMP_CWORD-1]}\"\n"
      "  local command='' first='' place=0 i=1\n"
      "  while [ \"$i\" -lt \"$COMP_CWORD\" ]; do\n"
      "    case \"${COMP_WORDS[i]}\" in\n"
      "      " +
      valued_flags(program) +
      ") i=$((i + 1));;\n"
      "      -*) ;;\n"
      "      *) if [ -z \"$command\" ]; then command=\"${COMP_WORDS[i]}\"; else [ -n \"$first\" ] || "
      "first=\"${COMP_WORDS[i]}\"; place=$((place + 1)); fi;;\n"
      "    esac\n"
      "    i=$((i + 1))\n"
      "  done\n"
      "  local flags=" +
      in_quotes(flags_of(program.settings) + " --help") +
      " words=''\n"
      "  case \"$before\" in\n"
      "    -f|--filename|--key-file) COMPREPLY=($(compgen -f -- \"$word\")); return;;\n"
      "    -o|--output) COMPREPLY=($(compgen -W 'table wide json yaml name' -- \"$word\")); return;;\n"
      "    -n|--namespace) COMPREPLY=($(compgen -W \"$(ironcorectl get namespaces -o name 2>/dev/null | cut "
      "-d/ -f2)\" -- \"$word\")); return;;\n"
      "  esac\n"
      "  case \"$command\" in\n"
      "    '') words=" +
      in_quotes(command_names(program)) + ";;\n";
  for (const Command& command : program.commands) {
    const std::string first = first_words(command);
    text += "    " + command.name + ") flags=\"$flags " + flags_of(command.settings) + '"';
    if (first == "@kinds") {
      text += "; if [ \"$place\" -eq 0 ]; then words=" + in_quotes(kinds()) +
              "; else words=\"$(ironcorectl get \"$first\" -o name 2>/dev/null | cut -d/ -f2)\"; fi";
    } else if (first == "@machines") {
      text += "; words=\"$(ironcorectl get machines -o name 2>/dev/null | cut -d/ -f2)\"";
    } else if (!first.empty()) {
      text += "; if [ \"$place\" -eq 0 ]; then words=" + in_quotes(first) +
              "; else words=\"$(ironcorectl get machines -o name 2>/dev/null | cut -d/ -f2)\"; fi";
    }
    text += ";;\n";
  }
  text +=
      "  esac\n"
      "  case \"$word\" in -*) words=\"$flags\";; esac\n"
      "  COMPREPLY=($(compgen -W \"$words\" -- \"$word\"))\n"
      "}\n";
  return text;
}

std::string bash_script(const Command& program) {
  return "# bash completion of ironcorectl: source <(ironcorectl completion bash)\n" + bash_function(program) +
         "complete -F _ironcorectl ironcorectl\n";
}

std::string zsh_script(const Command& program) {
  return "#compdef ironcorectl\n# zsh completion of ironcorectl: source <(ironcorectl completion zsh)\n"
         "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n" +
         bash_function(program) + "complete -F _ironcorectl ironcorectl\n";
}

void add_fish_flags(std::string& text, const std::string& when, const std::vector<Setting>& settings) {
  for (const Setting& setting : settings) {
    text += "complete -c ironcorectl" + when + " -l " + setting.name;
    if (setting.letter) text += std::string(" -s ") + setting.letter;
    if (setting.form != Setting::Form::toggle) text += " -r";
    if (!setting.choices.empty()) text += " -a " + in_quotes(joined(setting.choices));
    text += " -d " + in_quotes(setting.help) + '\n';
  }
}

std::string fish_script(const Command& program) {
  std::string text =
      "# fish completion of ironcorectl: ironcorectl completion fish | source\ncomplete -c ironcorectl -f\n";
  add_fish_flags(text, "", program.settings);
  for (const Command& command : program.commands) {
    text += "complete -c ironcorectl -n __fish_use_subcommand -a " + command.name + " -d " +
            in_quotes(command.summary) + '\n';
    const std::string when = " -n '__fish_seen_subcommand_from " + command.name + "'";
    add_fish_flags(text, when, command.settings);
    const std::string first = first_words(command);
    if (first == "@kinds") {
      text += "complete -c ironcorectl" + when + " -a " + in_quotes(kinds()) + '\n';
    } else if (first == "@machines") {
      text += "complete -c ironcorectl" + when +
              " -a '(ironcorectl get machines -o name 2>/dev/null | string replace -r \".*/\" \"\")'\n";
    } else if (!first.empty()) {
      text += "complete -c ironcorectl" + when + " -a " + in_quotes(first) + '\n';
    }
  }
  return text;
}

}  // namespace

Result<std::string> completion_script(const Command& program, const std::string& shell) {
  if (shell == "bash") return bash_script(program);
  if (shell == "zsh") return zsh_script(program);
  if (shell == "fish") return fish_script(program);
  return Error(ErrorCode::invalid, "expected bash, zsh or fish, not \"" + shell + '"');
}

}  // namespace ironcore::ctl
