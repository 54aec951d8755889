// SPDX-License-Identifier: Apache-2.0
// The loop of `edit`: print, let edit, read, merge, write.
#include "ironcorectl/edit.hpp"

#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <ostream>

#include "ironcore/api/json.hpp"
#include "ironcore/api/yaml.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"
#include "ironcore/store/typed.hpp"
#include "ironcorectl/apply.hpp"
#include "ironcorectl/manifest_files.hpp"
#include "ironcorectl/target.hpp"

namespace ironcore::ctl {
namespace {

namespace json = api::json;

/// A file of our own that goes away unless it is kept.
class Scratch {
 public:
  static Result<Scratch> create(const std::string& directory) {
    std::string name = directory + "/ironcorectl-edit-XXXXXX.yaml";
    const UniqueFd fd(::mkstemps(name.data(), 5));
    if (!fd) return system_error(errno, "create a file in " + directory);
    return Scratch(name);
  }
  Scratch(Scratch&& other) noexcept : path_(std::exchange(other.path_, "")) {}
  ~Scratch() {
    std::error_code ignored;
    if (!path_.empty() && !is_kept_) std::filesystem::remove(path_, ignored);
  }
  const std::string& path() const noexcept { return path_; }
  void keep() noexcept { is_kept_ = true; }

 private:
  explicit Scratch(std::string path) : path_(std::move(path)) {}
  std::string path_;
  bool is_kept_ = false;
};

Result<void> run_editor(const std::string& editor, const std::string& file) {
  // The editor may have arguments of its own (`code --wait`), so a shell splits it; the file is an argument,
  // not text of the command.
  const std::string script = editor + " \"$1\"";
  const pid_t child = ::fork();
  if (child < 0) return system_error(errno, "start the editor");
  if (child == 0) {
    sigset_t none;
    ::sigemptyset(&none);
    ::sigprocmask(SIG_SETMASK, &none, nullptr);
    ::execl("/bin/sh", "sh", "-c", script.c_str(), "edit", file.c_str(), static_cast<char*>(nullptr));
    ::_exit(127);
  }
  int status = 0;
  while (::waitpid(child, &status, 0) < 0) {
    if (errno != EINTR) return system_error(errno, "wait for the editor");
  }
  if (!WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    return Error(ErrorCode::cancelled,
                 "the editor (" + editor + ") failed: nothing was changed; set $EDITOR to another one");
  }
  return {};
}

std::string without_comments(std::string_view text) {
  std::string result;
  while (!text.empty()) {
    const auto end = text.find('\n');
    const auto line = text.substr(0, end);
    if (!line.starts_with('#')) result += std::string(line) + '\n';
    text = end == std::string_view::npos ? std::string_view() : text.substr(end + 1);
  }
  return result;
}

/// The reason as comment lines on top of the file.
std::string with_reason(const std::string& text, const std::string& reason) {
  std::string result = "# Change, save and leave the editor. Leave without a change to give up.\n";
  if (!reason.empty()) result += "#\n# " + reason + "\n";
  return result + "#\n" + text;
}

class Edit {
 public:
  Edit(Session& session, store::Store& store, store::Key key)
      : session_(session), store_(store), key_(std::move(key)) {}

  Result<void> run() {
    IRONCORE_TRY(auto scratch, Scratch::create(session_.options().scratch_directory));
    IRONCORE_TRY(api::Object original, store_.get(key_));
    IRONCORE_TRY(std::string text, api::to_yaml(original.json()));
    std::string reason;
    for (;;) {
      IRONCORE_CHECK(atomic_write_file(scratch.path(), with_reason(text, reason), 0600));
      IRONCORE_CHECK(run_editor(session_.options().editor, scratch.path()));
      IRONCORE_TRY(const std::string edited, read_file(scratch.path(), 2 * store::max_object_bytes));
      if (without_comments(edited) == without_comments(text)) {
        if (reason.empty()) {
          session_.out() << text_of(key_) << " unchanged\n";
          return {};
        }
        return keep(scratch, ErrorCode::cancelled, reason);
      }
      text = without_comments(edited);
      const auto written = write(original, scratch.path());
      if (written) return {};
      reason = written.error().message();
      if (written.error().code() == ErrorCode::unavailable || written.error().code() == ErrorCode::not_found)
        return keep(scratch, written.error().code(), reason);
      // An editor that nobody sits at would write the same or worse for ever.
      if (!session_.terminal().is_answered || session_.stop().stop_requested())
        return keep(scratch, ErrorCode::cancelled, reason);
    }
  }

 private:
  static Error keep(Scratch& scratch, ErrorCode code, const std::string& reason) {
    scratch.keep();
    return Error(code, reason + "; what you wrote is kept in " + scratch.path());
  }

  Result<void> write(const api::Object& original, const std::string& file) {
    IRONCORE_TRY(const auto manifests, read_manifests(session_, {file}, UnknownMembers::as_stored));
    if (manifests.size() != 1 || !(store::key_of(manifests.front().object) == key_)) {
      return Error(ErrorCode::invalid, "kind, namespace and name cannot be edited: make a new object instead");
    }
    const std::string mine = api::merge_patch(original, manifests.front().object);
    if (mine == "{}") {
      session_.out() << text_of(key_) << " unchanged\n";
      return {};
    }
    for (;;) {
      IRONCORE_TRY(const api::Object current, store_.get(key_));
      IRONCORE_TRY(const json::Tree ours, json::parse_tree(mine, json::Nulls::keep));
      IRONCORE_TRY(const json::Tree theirs, json::parse_tree(api::merge_patch(original, current), json::Nulls::keep));
      if (json::overlaps(ours, theirs)) {
        return Error(ErrorCode::conflict,
                     "somebody else changed the same field meanwhile: look at " + text_of(key_) + " and edit again");
      }
      const auto done = store::commit_one(store_, patch_at(current, ours));
      if (!done && done.error().code() == ErrorCode::conflict) continue;
      IRONCORE_CHECK(done);
      session_.out() << text_of(key_) << " edited\n";
      return {};
    }
  }

  Session& session_;
  store::Store& store_;
  store::Key key_;
};

}  // namespace

Result<void> edit(Session& session, const EditOptions& options) {
  IRONCORE_TRY(const auto keys, parse_keys(session, options.words));
  if (keys.size() != 1) return Error(ErrorCode::invalid, "edit takes one object");
  IRONCORE_TRY(store::Store* const store, session.store());
  return Edit(session, *store, keys.front()).run();
}

}  // namespace ironcore::ctl
