// SPDX-License-Identifier: Apache-2.0
// A line is 16 hexadecimal digits, `+` if the batch goes on in the next one or else `.`, and a list of changes.
#include "configuration_log.hpp"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <limits>
#include <optional>
#include <string_view>
#include <utility>

#include "hash.hpp"
#include "ironcore/base/file.hpp"
#include "ironcore/network/configuration_json.hpp"

namespace ironcore::network::dataplane {

namespace {

constexpr std::size_t digits = 16;
constexpr std::size_t before_content = digits + 2;
constexpr char last_line = '.';
constexpr char goes_on = '+';
/// Of the changes of one line, so that they can be read as one text.
constexpr std::size_t line_bytes = 1024 * 1024;
static_assert(line_bytes < max_configuration_json / 2);

std::string checksum(std::string_view text) {
  std::vector<std::uint64_t> words(text.size() / sizeof(std::uint64_t) + 2);
  std::memcpy(words.data(), text.data(), text.size());
  words.back() = text.size();
  std::uint64_t sum = hash_words(words);
  std::string out(digits, '0');
  for (auto digit = out.rbegin(); digit != out.rend(); ++digit, sum >>= 4) *digit = "0123456789abcdef"[sum & 15];
  return out;
}

void append_line(std::string& out, char mark, std::string_view content) {
  std::string text{mark, ' '};
  text += content;
  out += checksum(text) + text + '\n';
}

/// Nothing if it is not whole.
struct Line {
  char mark = last_line;
  std::string_view content;
};
std::optional<Line> parse_line(std::string_view line) {
  if (line.size() < before_content) return std::nullopt;
  const auto text = line.substr(digits);
  if (text[1] != ' ' || checksum(text) != line.substr(0, digits)) return std::nullopt;
  return Line{text[0], text.substr(2)};
}

/// Collects changes into the lines of one batch, or of a part of one.
class BatchWriter {
 public:
  explicit BatchWriter(std::string& out, char end = last_line) : out_(out), end_(end) {}
  void add(const Change& change) {
    if (content_.size() > line_bytes) end_line(goes_on);
    content_ += content_.empty() ? '[' : ',';
    content_ += to_json(change);
  }
  /// Of no changes, nothing is written.
  void end() {
    if (!content_.empty()) end_line(end_);
  }
  std::size_t open_bytes() const noexcept { return content_.size(); }

 private:
  void end_line(char mark) {
    content_ += ']';
    append_line(out_, mark, content_);
    content_.clear();
  }
  std::string& out_;
  const char end_;
  std::string content_;
};

Result<void> write_all(int fd, std::string_view text, const std::filesystem::path& file) {
  while (!text.empty()) {
    const auto count = ::write(fd, text.data(), text.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return system_error(errno, "write " + file.string());
    text.remove_prefix(static_cast<std::size_t>(count));
  }
  return {};
}

}  // namespace

Result<UniqueFd> lock_directory(const std::filesystem::path& directory) {
  UniqueFd fd(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!fd) return system_error(errno, "open directory " + directory.string());
  if (::flock(fd.get(), LOCK_EX | LOCK_NB) == 0) return fd;
  if (errno != EWOULDBLOCK) return system_error(errno, "lock directory " + directory.string());
  return Error(ErrorCode::wrong_state, "directory " + directory.string() +
                                           " is in use by another dataplane: end that one first, or name another one");
}

ConfigurationLog::ConfigurationLog(std::filesystem::path file, const Prefix& underlay, UniqueFd lock,
                                   const Sizes& sizes)
    : file_(std::move(file)),
      header_("ironcore dataplane configuration 1 " + underlay.network().to_text()),
      lock_(std::move(lock)),
      sizes_(sizes) {}

ConfigurationLog::~ConfigurationLog() {
  if (rewriting_) ::unlink(temporary().c_str());
}

Result<std::unique_ptr<ConfigurationLog>> ConfigurationLog::open(const std::filesystem::path& directory,
                                                                 const Prefix& underlay, Log& log, const Sizes& sizes) {
  IRONCORE_TRY(auto lock, lock_directory(directory));
  std::unique_ptr<ConfigurationLog> out(
      new ConfigurationLog(directory / "configuration", underlay, std::move(lock), sizes));
  ::unlink(out->temporary().c_str());  // of one that was killed
  if (::access(out->file_.c_str(), F_OK) != 0) {
    if (errno != ENOENT) return system_error(errno, "look at " + out->file_.string());
    IRONCORE_CHECK(out->begin([](const TakeObject&) { return true; }));
    IRONCORE_CHECK(out->go_on());
    return out;
  }
  out->fd_.reset(::open(out->file_.c_str(), O_RDWR | O_APPEND | O_CLOEXEC | O_NOFOLLOW));
  if (!out->fd_) return system_error(errno, "open " + out->file_.string());
  IRONCORE_CHECK(out->read(log));
  return out;
}

Error ConfigurationLog::broken(std::size_t line, const std::string& why) const {
  return {ErrorCode::corrupt, file_.string() + ", line " + std::to_string(line) + ": " + why +
                                  ": put a copy of the file back, or move it away to begin without a configuration"};
}

Result<void> ConfigurationLog::read(Log& log) {
  constexpr std::size_t largest_file = std::size_t{16} * 1024 * 1024 * 1024;
  IRONCORE_TRY(const auto text, read_file(file_, largest_file));
  std::string_view rest = text;
  std::size_t number = 0;
  const auto next = [&]() -> std::optional<Line> {
    ++number;
    const auto end = rest.find('\n');
    if (end == std::string_view::npos) return std::nullopt;
    const auto line = parse_line(rest.substr(0, end));
    rest.remove_prefix(end + 1);
    return line;
  };
  const auto header = next();
  constexpr std::string_view kind = "ironcore dataplane configuration ";
  if (!header || !header->content.starts_with(kind)) return broken(1, "is not the beginning of a configuration");
  if (header->content != header_)
    return Error(ErrorCode::invalid, file_.string() + " is \"" + std::string(header->content) + "\" and not \"" +
                                         header_ + "\": start with that underlay and version, or move the file away");
  size_ = compact_size_ = text.size() - rest.size();

  Batch batch;
  while (!rest.empty()) {
    const auto line = next();
    if (!line) {
      while (!rest.empty() && rest.find('\n') != std::string_view::npos)
        if (next()) return broken(number, "follows a line that is damaged");
      break;
    }
    auto changes = parse_changes(line->content);
    if (!changes) return broken(number, changes.error().message());
    batch.insert(batch.end(), std::move_iterator(changes->begin()), std::move_iterator(changes->end()));
    if (line->mark == goes_on) continue;
    batches_.push_back(std::exchange(batch, {}));
    size_ = text.size() - rest.size();
    if (batches_.size() == 1) compact_size_ = size_;
  }
  if (size_ == text.size()) return {};
  log.warning(
      "the last batch of the configuration was not written to its end: it is left out, and nobody was told that it was "
      "applied",
      {{"file", file_.string()}, {"bytes", std::to_string(text.size() - size_)}});
  if (::ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0 || ::fsync(fd_.get()) != 0)
    return system_error(errno, "cut " + file_.string());
  return {};
}

Result<void> ConfigurationLog::add(std::span<const Change> batch) {
  if (batch.empty()) return {};
  if (is_suspect_) return Error(ErrorCode::unavailable, file_.string() + " could not be written");
  std::string text;
  BatchWriter writer(text);
  for (const auto& change : batch) writer.add(change);
  writer.end();
  auto written = write_all(fd_.get(), text, file_);
  if (written && ::fdatasync(fd_.get()) != 0) {
    // What the kernel has dropped and what not is not known.
    is_suspect_ = true;
    written = system_error(errno, "sync " + file_.string());
  }
  if (!written) {
    if (::ftruncate(fd_.get(), static_cast<off_t>(size_)) != 0) is_suspect_ = true;
    return written;
  }
  size_ += text.size();
  if (!rewriting_) return {};
  BatchWriter again(rewriting_->text, goes_on);
  for (const auto& change : batch) again.add(change);
  again.end();
  rewriting_->owed += 2 * text.size();
  return {};
}

Result<void> ConfigurationLog::compact_some(const std::function<Source()>& all) {
  if (!rewriting_) {
    if (!is_to_compact()) return {};
    if (auto begun = begin(all()); !begun) {
      next_try_ = size_ + sizes_.spare_bytes;
      return begun;
    }
  }
  bool is_done = false;
  do {
    IRONCORE_TRY(is_done, go_on());
  } while (is_suspect_ && !is_done);
  return {};
}

Result<void> ConfigurationLog::begin(Source source) {
  UniqueFd fd(::open(temporary().c_str(), O_RDWR | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd) return system_error(errno, "create " + temporary().string());
  auto& now = rewriting_.emplace(Rewriting{});
  now.fd = std::move(fd);
  now.source = std::move(source);
  append_line(now.text, last_line, header_);
  return {};
}

Result<bool> ConfigurationLog::go_on() {
  auto& now = *rewriting_;
  const auto added = now.text.size();
  const auto most = added + sizes_.some_bytes + std::exchange(now.owed, 0);
  BatchWriter writer(now.text, goes_on);
  const bool is_all = now.source([&](const Change& change) {
    writer.add(change);
    return now.text.size() + writer.open_bytes() < most;
  });
  writer.end();
  now.needed += now.text.size() - added;
  const bool has_batch = now.size + now.text.size() > header_.size() + before_content + 1;
  if (is_all && has_batch) append_line(now.text, last_line, "[]");
  auto written = write_all(now.fd.get(), now.text, temporary());
  // Each time, so that no sync has much to do.
  if (written && ::fdatasync(now.fd.get()) != 0) written = system_error(errno, "sync " + temporary().string());
  now.size += now.text.size();
  now.text.clear();
  if (written && is_all) written = finish();
  if (!written) {
    if (rewriting_) ::unlink(temporary().c_str());
    rewriting_.reset();
    next_try_ = size_ + sizes_.spare_bytes;
    return written.error();
  }
  return is_all;
}

Result<void> ConfigurationLog::finish() {
  if (::rename(temporary().c_str(), file_.c_str()) != 0) return system_error(errno, "replace " + file_.string());
  fd_ = std::move(rewriting_->fd);
  size_ = rewriting_->size;
  compact_size_ = rewriting_->needed;
  next_try_ = 0;
  rewriting_.reset();
  // A crash of the host could bring back the file of before, which does not have what is added from now on.
  const auto synced = sync_directory(file_.parent_path());
  is_suspect_ = !synced;
  return synced;
}

}  // namespace ironcore::network::dataplane
