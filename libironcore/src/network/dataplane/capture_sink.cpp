// SPDX-License-Identifier: Apache-2.0
// A file holds whole frames only, also when the disk is full.
#include "capture_sink.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <mutex>

#include "ironcore/base/file.hpp"
#include "ironcore/base/unique_fd.hpp"

namespace ironcore::network::dataplane {

namespace {

// ---- file --------------------------------------------------------------------------------------------------------------

class FileSink final : public CaptureSink {
 public:
  FileSink(UniqueFd fd, std::string path) : fd_(std::move(fd)), path_(std::move(path)) {}

  Result<void> write_all(std::string_view bytes) {
    for (std::size_t done = 0; done < bytes.size();) {
      const auto count = ::write(fd_.get(), bytes.data() + done, bytes.size() - done);
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) {
        const int why = count < 0 ? errno : ENOSPC;
        // A part of a frame would make the file unreadable at its end.
        const bool is_whole = ::ftruncate(fd_.get(), static_cast<off_t>(size_)) == 0;
        return system_error(why, "write " + path_ + (is_whole ? "" : ", whose last frame is cut"));
      }
      done += static_cast<std::size_t>(count);
    }
    size_ += bytes.size();
    return {};
  }

  Result<Taken> put(const CaptureBatch& batch) override {
    IRONCORE_CHECK(write_all(batch.bytes));
    return Taken{batch.ends.size(), batch.bytes.size()};
  }

 private:
  UniqueFd fd_;
  const std::string path_;
  std::uint64_t size_ = 0;
};

// ---- datagrams ---------------------------------------------------------------------------------------------------------

class UdpSink final : public CaptureSink {
 public:
  explicit UdpSink(UniqueFd fd) : fd_(std::move(fd)) {}

  Result<Taken> put(const CaptureBatch& batch) override {
    Taken taken;
    std::size_t begin = 0;
    for (const auto end : batch.ends) {
      const auto bytes = end - begin;
      // Too long, no room, no way, nobody there: the next one may get through.
      if (::send(fd_.get(), batch.bytes.data() + begin, bytes, MSG_DONTWAIT | MSG_NOSIGNAL) ==
          static_cast<ssize_t>(bytes)) {
        ++taken.frames;
        taken.bytes += bytes;
      }
      begin = end;
    }
    return taken;
  }

 private:
  UniqueFd fd_;
};

Result<void> connect_to(int fd, const CaptureUdp& udp) {
  const auto bytes = udp.address.bytes();
  sockaddr_storage to{};
  socklen_t length = 0;
  if (udp.address.is_v4()) {
    auto& v4 = reinterpret_cast<sockaddr_in&>(to);
    v4.sin_family = AF_INET;
    v4.sin_port = htons(udp.port);
    std::memcpy(&v4.sin_addr, bytes.data(), bytes.size());
    length = sizeof(v4);
  } else {
    auto& v6 = reinterpret_cast<sockaddr_in6&>(to);
    v6.sin6_family = AF_INET6;
    v6.sin6_port = htons(udp.port);
    std::memcpy(&v6.sin6_addr, bytes.data(), bytes.size());
    length = sizeof(v6);
  }
  if (::connect(fd, reinterpret_cast<const sockaddr*>(&to), length) != 0) {
    const int why = errno;
    return Error(ErrorCode::unavailable,
                 system_error(why, "send to " + udp.address.to_text()).message() + ": this host needs a route there");
  }
  return {};
}

// ---- stream ------------------------------------------------------------------------------------------------------------

class MemorySink final : public CaptureStreamSink {
 public:
  explicit MemorySink(std::string_view beginning) : bytes_(beginning) {}

  bool is_ready() const noexcept override {
    const std::lock_guard lock(mutex_);
    return bytes_.size() + longest_capture_batch <= room;
  }
  Result<Taken> put(const CaptureBatch& batch) override {
    const std::lock_guard lock(mutex_);
    bytes_ += batch.bytes;
    return Taken{batch.ends.size(), batch.bytes.size()};
  }
  Result<std::string> read(std::uint64_t offset) override {
    const std::lock_guard lock(mutex_);
    if (offset < forgotten_)
      return Error(ErrorCode::gone, "these bytes were read before and are forgotten: only one can read a capture");
    if (offset - forgotten_ > bytes_.size())
      return Error(ErrorCode::invalid, "offset: the capture has not so many bytes yet");
    bytes_.erase(0, static_cast<std::size_t>(offset - forgotten_));
    forgotten_ = offset;
    return bytes_.substr(0, chunk);
  }

 private:
  mutable std::mutex mutex_;
  std::string bytes_;
  std::uint64_t forgotten_ = 0;  ///< before the first one of them
};

}  // namespace

Result<std::unique_ptr<CaptureSink>> create_file_sink(const std::string& directory, const CaptureFile& file,
                                                      std::string_view beginning) {
  constexpr mode_t mode = 0600;
  const UniqueFd parent(::open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!parent) {
    const int why = errno;
    return system_error(why, "open the directory of captures, " + directory);
  }
  const auto path = directory + "/" + file.name;
  struct stat there {};
  if (::fstatat(parent.get(), file.name.c_str(), &there, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(there.st_mode))
    return Error(ErrorCode::already_exists, path + " is a directory, which no capture replaces: give another name");
  // Its name is taken away, not its content: whatever else has a name for that keeps it.
  if (file.existing == CaptureFile::Existing::replace && ::unlinkat(parent.get(), file.name.c_str(), 0) != 0 &&
      errno != ENOENT) {
    const int why = errno;
    return system_error(why, "replace " + path);
  }
  UniqueFd fd(::openat(parent.get(), file.name.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode));
  if (!fd) {
    const int why = errno;
    if (why == EEXIST)
      return Error(ErrorCode::already_exists,
                   path + " is there already: give another name, or say that it may be replaced");
    return system_error(why, "make " + path);
  }
  auto sink = std::make_unique<FileSink>(std::move(fd), path);
  if (auto written = sink->write_all(beginning); !written) {
    ::unlinkat(parent.get(), file.name.c_str(), 0);
    return written.error();
  }
  return std::unique_ptr<CaptureSink>(std::move(sink));
}

Result<std::unique_ptr<CaptureSink>> create_udp_sink(const CaptureUdp& udp) {
  UniqueFd fd(::socket(udp.address.is_v4() ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!fd) {
    const int why = errno;
    return system_error(why, "make a socket");
  }
  IRONCORE_CHECK(connect_to(fd.get(), udp));
  return std::unique_ptr<CaptureSink>(std::make_unique<UdpSink>(std::move(fd)));
}

std::unique_ptr<CaptureStreamSink> create_stream_sink(std::string_view beginning) {
  return std::make_unique<MemorySink>(beginning);
}

}  // namespace ironcore::network::dataplane
