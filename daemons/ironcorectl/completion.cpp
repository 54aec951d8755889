// SPDX-License-Identifier: Apache-2.0
// Completion scripts, from the same data that the command line is read by. Names of objects are asked for
// with `ironcorectl get KIND -o name`.
#include "ironcorectl/completion.hpp"

#include <algorithm>

#include "ironcore/api/kind.hpp"
#include "ironcorectl/dataplane_objects.hpp"

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

/// Flags that take a value, so that the word after them is no argument: ` --output -o `.
std::string valued_flags(const std::vector<Setting>& settings) {
  std::string text = " ";
  for (const Setting& setting : settings) {
    if (setting.form == Setting::Form::toggle) continue;
    text += "--" + setting.name + ' ';
    if (setting.letter) text += std::string("-") + setting.letter + ' ';
  }
  return text;
}

/// `-o|--output`: a pattern of the shell.
std::string flag_pattern(const Setting& setting) {
  return (setting.letter ? std::string("-") + setting.letter + '|' : "") + "--" + setting.name;
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

/// What comes after a flag that takes a value.
std::string bash_values(const Command& program) {
  std::string text;
  std::vector<std::string> seen;
  const auto add = [&](const std::vector<Setting>& settings) {
    for (const Setting& setting : settings) {
      if (setting.choices.empty() || std::find(seen.begin(), seen.end(), setting.name) != seen.end()) continue;
      seen.push_back(setting.name);
      text += "      " + flag_pattern(setting) + ") words=" + in_quotes(joined(setting.choices)) + ";;\n";
    }
  };
  add(program.settings);
  for (const Command& command : program.commands) add(command.settings);
  return text;
}

/// The words that a command's arguments can be.
std::string bash_arguments(const Command& command) {
  if (command.arguments.empty()) return "";
  const std::string first = first_words(command);
  if (first == "@kinds") return "_ironcorectl_objects";
  if (first == "@machines") return "_ironcorectl_names machines";
  const bool is_routes = command.arguments.back().choices == std::vector<std::string>{"@vnis"};
  const bool is_dataplane = command.arguments.back().choices == std::vector<std::string>{"@dataplane"};
  std::string text = "if [ \"$place\" -eq 0 ]; then words=" + in_quotes(first);
  if (is_dataplane) return text + "; else _ironcorectl_dataplane_words; fi";
  if (is_routes) return text + "; else _ironcorectl_routes_words; fi";
  if (command.arguments.size() > 1) text += "; else words=" + in_quotes(joined(command.arguments[1].choices));
  if (command.arguments.front().most > 1) text += "; else _ironcorectl_names machines";
  return text + "; fi";
}

/// Functions for bash; zsh runs them through bashcompinit. They share variables, as shells do.
std::string bash_function(const Command& program) {
  std::string where;
  for (const Setting& setting : program.settings) where += (where.empty() ? "" : "|") + flag_pattern(setting);
  where += "|--dataplane|--dataplane-key|--reflector|--reflector-key";
  std::string text =
      "# Names of a kind, looked for where the command line says.\n"
      "_ironcorectl_names() {\n"
      "  words=\"$(ironcorectl \"${where[@]}\" get \"$1\" -o name 2>/dev/null | cut -d/ -f2 | sed \"s|^|$2|\")\"\n"
      "}\n"
      "# KIND NAME… or KIND/NAME…\n"
      "_ironcorectl_objects() {\n"
      "  case \"$word\" in */*) _ironcorectl_names \"${word%%/*}\" \"${word%%/*}/\"; return;; esac\n"
      "  case \"$first\" in\n"
      "    '') words=" +
      in_quotes(kinds()) +
      ";;\n"
      "    */*) ;;\n"
      "    *) _ironcorectl_names \"$first\";;\n"
      "  esac\n"
      "}\n"
      "# What the dataplane of a host has: NAME of `get KIND`, or of `ports`; then which word of it.\n"
      "_ironcorectl_dataplane() {\n"
      "  words=\"$(ironcorectl dataplane $1 -o name \"${where[@]}\" 2>/dev/null | cut -s -d' ' -f\"$2\")\"\n"
      "}\n"
      "_ironcorectl_dataplane_words() {\n"
      "  case \"$first\" in\n"
      "    get|delete) if [ \"$place\" -ne 1 ]; then _ironcorectl_dataplane \"get $second\" \"$place\"; "
      "elif [ \"$first\" = get ]; then words=" +
      in_quotes(joined(shown_dataplane_kinds())) + "; else words=" + in_quotes(joined(dataplane_kinds())) +
      "; fi;;\n"
      "    watch) words=" +
      in_quotes(joined(shown_dataplane_kinds())) +
      ";;\n"
      "    capture) if [ \"$place\" -eq 1 ]; then words='start stop list'; fi;;\n"
      "    explain) case \"$place\" in 1) _ironcorectl_dataplane ports 2;; 2) words='tcp udp sctp icmp';; esac;;\n"
      "    close-port) if [ \"$place\" -eq 1 ]; then _ironcorectl_dataplane ports 2; fi;;\n"
      "  esac\n"
      "}\n"
      "# VNIs of a reflector.\n"
      "_ironcorectl_routes_words() {\n"
      "  case \"$first\" in\n"
      "    dump|trace|watch) if [ \"$place\" -eq 1 ]; then words=\"$(ironcorectl routes vnis -o name \"${where[@]}\" "
      "2>/dev/null)\"; fi;;\n"
      "  esac\n"
      "}\n"
      "_ironcorectl() {\n"
      "  local word=\"${COMP_WORDS[COMP_CWORD]}\" flag=\"${COMP_WORDS[COMP_CWORD-1]}\" this=''\n"
      "  local command='' first='' second='' words='' place=0 i=1\n"
      "  local valued=" +
      in_quotes(valued_flags(program.settings)) + " flags=" + in_quotes(flags_of(program.settings) + " --help") +
      "\n"
      "  local -a where\n"
      "  where=()\n"
      "  # The shell takes --flag=value apart into three words.\n"
      "  if [ \"$flag\" = '=' ]; then flag=\"${COMP_WORDS[COMP_CWORD-2]}\"; fi\n"
      "  if [ \"$word\" = '=' ]; then word=''; fi\n"
      "  while [ \"$i\" -lt \"$COMP_CWORD\" ]; do\n"
      "    this=\"${COMP_WORDS[i]}\"\n"
      "    case \"$this\" in\n"
      "      -*) if [[ \"$valued\" == *\" $this \"* ]]; then\n"
      "            i=$((i + 1))\n"
      "            if [ \"${COMP_WORDS[i]}\" = '=' ]; then i=$((i + 1)); fi\n"
      "            case \"$this\" in " +
      where +
      ") [ \"$i\" -ge \"$COMP_CWORD\" ] || where+=(\"$this\" \"${COMP_WORDS[i]}\");; esac\n"
      "          fi;;\n"
      "      *) if [ -n \"$command\" ]; then\n"
      "            if [ -z \"$first\" ]; then first=\"$this\"; elif [ -z \"$second\" ]; then second=\"$this\"; fi\n"
      "            place=$((place + 1))\n"
      "          else\n"
      "            command=\"$this\"\n"
      "            case \"$command\" in\n";
  for (const Command& command : program.commands) {
    if (command.settings.empty()) continue;
    text += "              " + command.name + ") valued+=" + in_quotes(valued_flags(command.settings)) +
            " flags+=" + in_quotes(' ' + flags_of(command.settings)) + ";;\n";
  }
  text +=
      "            esac\n"
      "          fi;;\n"
      "    esac\n"
      "    i=$((i + 1))\n"
      "  done\n"
      "  if [[ \"$valued\" == *\" $flag \"* ]]; then\n"
      "    case \"$flag\" in\n"
      "      -f|--filename|--key-file) COMPREPLY=($(compgen -f -- \"$word\")); return;;\n"
      "      -n|--namespace) _ironcorectl_names namespaces;;\n"
      "      --interface) _ironcorectl_dataplane 'get interfaces' 2;;\n"
      "      --port) _ironcorectl_dataplane ports 2;;\n" +
      bash_values(program) +
      "    esac\n"
      "  else\n"
      "    case \"$word\" in\n"
      "      -*) words=\"$flags\";;\n"
      "      *) case \"$command\" in\n"
      "        '') words=" +
      in_quotes(command_names(program)) + ";;\n";
  for (const Command& command : program.commands) {
    const std::string words = bash_arguments(command);
    if (!words.empty()) text += "        " + command.name + ") " + words + ";;\n";
  }
  text +=
      "      esac;;\n"
      "    esac\n"
      "  fi\n"
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
    const auto behind = [&](const std::string& verbs, const std::string& words) {
      text += "complete -c ironcorectl -n '__fish_seen_subcommand_from " + command.name +
              "; and __fish_seen_subcommand_from " + verbs + "' -a " + in_quotes(words) + '\n';
    };
    if (command.name == "routes") behind("dump trace watch", "(ironcorectl routes vnis -o name 2>/dev/null)");
    if (command.name != "dataplane") continue;
    behind("get watch", joined(shown_dataplane_kinds()));
    behind("delete", joined(dataplane_kinds()));
    behind("capture", "start stop list");
    behind("explain close-port", "(ironcorectl dataplane ports -o name 2>/dev/null | string replace -r '.* ' '')");
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
