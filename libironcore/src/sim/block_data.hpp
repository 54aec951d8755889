// SPDX-License-Identifier: Apache-2.0
// What one client has open of one image, with its cache.
#pragma once

#include "block_state.hpp"

namespace ironcore::sim {

class BlockStore::Data final : public storage::BlockData {
 public:
  Data(std::shared_ptr<State> state, ImagePtr image, std::optional<std::uint64_t> seed, std::shared_ptr<Client> client);
  ~Data() override;

  std::uint64_t size() const override;
  void read(std::uint64_t offset, std::span<std::byte> into, Done done) override;
  void write(std::uint64_t offset, BytesView bytes, Done done) override;
  void discard(std::uint64_t offset, std::uint64_t size, Done done) override;
  void flush(Done done) override;

  // With the mutex held:
  const Image& image() const { return *image_; }
  const Client& client() const { return *client_; }
  bool is_cut_off() const { return is_cut_off_; }
  /// Its client is dead or fenced: what was not flushed is lost, and nothing comes after it.
  void cut_off();
  void begins() { ++under_way_; }
  void ends() { --under_way_; }

 private:
  using Operation = std::function<Result<void>()>;
  /// A change of data that was not flushed yet; without bytes it is a discard.
  struct Change {
    std::uint64_t offset = 0;
    std::uint64_t size = 0;
    Bytes bytes;
  };

  void start(std::string_view name, Done done, Operation operation);

  Result<void> check(std::uint64_t offset, std::uint64_t size) const;
  Result<void> check_change(std::uint64_t offset, std::uint64_t size) const;

  Result<void> do_read(std::uint64_t offset, std::span<std::byte> into) const;

  Result<void> cache(Change change);
  Result<void> apply_first();
  Result<void> apply();

  std::shared_ptr<State> state_;
  ImagePtr image_;
  std::optional<std::uint64_t> seed_;
  std::shared_ptr<Client> client_;
  bool is_cut_off_ = false;
  std::deque<Change> cached_;
  std::uint64_t cached_bytes_ = 0;
  std::size_t under_way_ = 0;  // of those that were held, on the thread that releases them
};

}  // namespace ironcore::sim
