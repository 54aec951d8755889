// SPDX-License-Identifier: Apache-2.0
// Reading and writing an open image.
#include "data.hpp"

#include <optional>
#include <string>
#include <utility>

#include "errors.hpp"

namespace ironcore::storage::ceph {

struct ImageData::Operation {
  ImageData* data = nullptr;
  Done done;
  const char* doing = "";
  std::optional<Error> refusal;
  std::uint64_t expected = 0;  ///< of a read: bytes

  static void finished(rbd_completion_t completion, void* argument) {
    const std::unique_ptr<Operation> self(static_cast<Operation*>(argument));
    const ssize_t code = rbd_aio_get_return_value(completion);
    rbd_aio_release(completion);
    self->end(code);
  }

  void end(ssize_t code) {
    Result<void> result;
    if (refusal) {
      result = std::move(*refusal);
    } else if (code < 0) {
      result = ceph_error(static_cast<int>(code), doing);
    } else if (static_cast<std::uint64_t>(code) < expected) {
      result = Error(ErrorCode::invalid, std::string(doing) + ": beyond the end of the volume");
    }
    done(std::move(result));
    done = nullptr;
    data->ended();
  }
};

ImageData::ImageData(Image image, Use use) : image_(std::move(image)), use_(use) {}

ImageData::~ImageData() {
  std::unique_lock lock(mutex_);
  idle_.wait(lock, [&] { return under_way_ == 0; });
}

std::uint64_t ImageData::size() const {
  const auto size = image_.size();
  return size.has_error() ? 0 : *size;
}

void ImageData::ended() noexcept {
  const std::lock_guard lock(mutex_);
  // Under the lock: once it is free, a destructor that waited may be through.
  if (--under_way_ == 0) idle_.notify_all();
}

std::unique_ptr<ImageData::Operation> ImageData::begin(Done done, const char* doing) {
  {
    const std::lock_guard lock(mutex_);
    ++under_way_;
  }
  auto operation = std::make_unique<Operation>();
  operation->data = this;
  operation->done = std::move(done);
  operation->doing = doing;
  return operation;
}

template <class Start>
void ImageData::submit(std::unique_ptr<Operation> operation, Start start) {
  rbd_completion_t completion = nullptr;
  int code = rbd_aio_create_completion(operation.get(), &Operation::finished, &completion);
  if (code >= 0) {
    code = start(completion);
    if (code >= 0) {
      operation.release();  // `finished` has it
      return;
    }
    rbd_aio_release(completion);
  }
  operation->end(code);
}

void ImageData::refuse(Done done, Error error) {
  auto operation = begin(std::move(done), "");
  operation->refusal = std::move(error);
  submit(std::move(operation), [&](rbd_completion_t completion) { return rbd_aio_flush(image_.get(), completion); });
}

Result<void> ImageData::check(std::uint64_t offset, std::uint64_t size, bool is_change) const {
  if (is_change && use_ == Use::read_only) return Error(ErrorCode::invalid, "a snapshot is only to read");
  std::uint64_t end = known_size_.load(std::memory_order_relaxed);
  if (offset <= end && size <= end - offset) return {};
  end = this->size();
  known_size_.store(end, std::memory_order_relaxed);
  if (offset > end || size > end - offset) {
    return Error(ErrorCode::invalid, std::to_string(size) + " bytes at " + std::to_string(offset) +
                                         " are beyond the end of the volume at " + std::to_string(end));
  }
  return {};
}

void ImageData::read(std::uint64_t offset, std::span<std::byte> into, Done done) {
  if (auto bad = check(offset, into.size(), false); bad.has_error()) return refuse(std::move(done), bad.error());
  if (into.empty()) return flush(std::move(done));
  auto operation = begin(std::move(done), "read");
  operation->expected = into.size();
  submit(std::move(operation), [&](rbd_completion_t completion) {
    return rbd_aio_read(image_.get(), offset, into.size(), reinterpret_cast<char*>(into.data()), completion);
  });
}

void ImageData::write(std::uint64_t offset, BytesView bytes, Done done) {
  if (auto bad = check(offset, bytes.size(), true); bad.has_error()) return refuse(std::move(done), bad.error());
  if (bytes.empty()) return flush(std::move(done));
  submit(begin(std::move(done), "write"), [&](rbd_completion_t completion) {
    return rbd_aio_write(image_.get(), offset, bytes.size(), reinterpret_cast<const char*>(bytes.data()), completion);
  });
}

void ImageData::discard(std::uint64_t offset, std::uint64_t size, Done done) {
  if (auto bad = check(offset, size, true); bad.has_error()) return refuse(std::move(done), bad.error());
  if (size == 0) return flush(std::move(done));
  // librbd's discard leaves what is smaller than its granularity as it is; this gives back whole objects and zeroes the rest.
  submit(begin(std::move(done), "discard"), [&](rbd_completion_t completion) {
    return rbd_aio_write_zeroes(image_.get(), offset, static_cast<std::size_t>(size), completion, 0, 0);
  });
}

void ImageData::flush(Done done) {
  submit(begin(std::move(done), "flush"),
         [&](rbd_completion_t completion) { return rbd_aio_flush(image_.get(), completion); });
}

}  // namespace ironcore::storage::ceph
