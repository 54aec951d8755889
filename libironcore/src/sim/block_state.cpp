// SPDX-License-Identifier: Apache-2.0
// Room, pages, names, copies, clients and credentials of a simulated place.
#include "block_state.hpp"

#include <algorithm>
#include <array>
#include <cstring>

#include "block_data.hpp"
#include "ironcore/base/base64.hpp"

namespace ironcore::sim {

using namespace blocks;

namespace {

constexpr std::uint64_t chunk_bytes = 1 << 20;  // what is copied between two looks at the stop

Error busy(const BlockId& id) {
  return {ErrorCode::conflict, "another call is making " + text(id) + ": repeat this one later"};
}
Error no_room() {
  return {ErrorCode::exhausted, "the pool is full: remove volumes or enlarge it"};
}

}  // namespace

bool BlockStore::State::has_room(std::uint64_t bytes) const {
  const auto limit = static_cast<std::uint64_t>(static_cast<double>(options.total_bytes) * options.full);
  return room + filled + bytes <= limit;
}

Result<void> BlockStore::State::write(Image& image, std::optional<std::uint64_t> seed, std::uint64_t offset,
                                      BytesView bytes) {
  while (!bytes.empty()) {
    const std::uint64_t number = offset / page_bytes;
    const std::uint64_t within = offset % page_bytes;
    const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(page_bytes - within, bytes.size()));
    PageBytes page{};
    if (length < page_bytes) blocks::read(image, seed, number * page_bytes, page);
    std::memcpy(page.data() + within, bytes.data(), length);
    IRONCORE_CHECK(put(image, seed, number, page));
    bytes = bytes.subspan(length);
    offset += length;
  }
  return {};
}

Result<void> BlockStore::State::put(Image& image, std::optional<std::uint64_t> seed, std::uint64_t number,
                                    PageBytes& page) {
  auto found = image.pages.find(number);
  if (is_zero(page)) {
    if (found != image.pages.end()) image.pages.erase(found);
    return {};
  }
  if (seed) scramble(*seed, number, page);
  if (found == image.pages.end() || found->second.use_count() > 1) {
    if (!has_room(page_bytes)) return no_room();
    found = image.pages.insert_or_assign(number, std::make_shared<Page>(room)).first;
  }
  found->second->bytes = page;
  return {};
}

Result<void> BlockStore::State::discard(Image& image, std::optional<std::uint64_t> seed, std::uint64_t offset,
                                        std::uint64_t size) {
  const std::uint64_t end = offset + size;
  const std::uint64_t first = (offset + page_bytes - 1) / page_bytes;
  const std::uint64_t last = end / page_bytes;
  if (first >= last) {  // no whole page
    return size == 0 ? Result<void>() : write(image, seed, offset, Bytes(static_cast<std::size_t>(size)));
  }
  image.pages.erase(image.pages.lower_bound(first), image.pages.lower_bound(last));
  IRONCORE_CHECK(write(image, seed, offset, Bytes(static_cast<std::size_t>(first * page_bytes - offset))));
  return write(image, seed, last * page_bytes, Bytes(static_cast<std::size_t>(end - last * page_bytes)));
}

ImagePtr BlockStore::State::find(Kind kind, const BlockId& id) const {
  const auto found = images.find(id);
  if (found == images.end() || !found->second->is_whole || found->second->kind != kind) return nullptr;
  return found->second;
}

Result<ImagePtr> BlockStore::State::volume(const BlockId& id) const {
  if (auto image = find(Kind::volume, id)) return image;
  return Error(ErrorCode::not_found, "no volume " + text(id));
}

Result<ImagePtr> BlockStore::State::snapshot(const BlockId& id) const {
  if (auto image = find(Kind::snapshot, id)) return image;
  return Error(ErrorCode::not_found, "no snapshot " + text(id));
}

std::uint32_t BlockStore::State::depth(const Image& image) {
  std::uint32_t depth = 0;
  for (const Image* next = image.parent.get(); next != nullptr; next = next->parent.get()) ++depth;
  return depth;
}

std::vector<ImagePtr> BlockStore::State::dependents(const ImagePtr& parent) const {
  std::vector<ImagePtr> all;
  for (const auto& [id, image] : images) {
    if (image->parent == parent) all.push_back(image);
  }
  for (const auto& image : trash) {
    if (image->parent == parent) all.push_back(image);
  }
  return all;
}

void BlockStore::State::drop(ImagePtr image) {
  images.erase(image->id);
  if (dependents(image).empty()) {
    image->parent = nullptr;
  } else {
    trash.insert(std::move(image));
  }
}

Result<void> BlockStore::State::separate(Image& image) {
  std::uint64_t shared = 0;
  for (const auto& [number, page] : image.pages) {
    if (page.use_count() > 1) shared += page_bytes;
  }
  if (!has_room(shared)) return no_room();
  for (auto& [number, page] : image.pages) {
    if (page.use_count() > 1) page = std::make_shared<Page>(*page);
  }
  image.parent = nullptr;
  return {};
}

Volume BlockStore::State::describe_volume(const Image& image) const {
  return {image.id, image.size, image.key.has_value(), image.limits, depth(image)};
}

Snapshot BlockStore::State::describe_snapshot(const Image& image) {
  return {image.id, image.volume, image.size, image.key.has_value()};
}

BaseImage BlockStore::State::describe_base(const ImagePtr& image) const {
  return {image->digest, image->size, static_cast<std::uint32_t>(dependents(image).size())};
}

Result<ImagePtr> BlockStore::State::begin(Kind kind, const BlockId& id) {
  if (const auto found = images.find(id); found != images.end()) {
    if (found->second->is_busy) return busy(id);
    if (found->second->is_whole) {
      return Error(ErrorCode::already_exists, text(id) + " is there already, and is something else");
    }
    drop(found->second);
  }
  auto image = std::make_shared<Image>();
  image->kind = kind;
  image->id = id;
  images[id] = image;
  return image;
}

Result<void> BlockStore::State::remove(std::string_view name, Kind kind, const BlockId& id) {
  std::lock_guard guard(mutex);
  Steps steps(*this, name, id);
  IRONCORE_CHECK(steps.begin());
  const auto found = images.find(id);
  if (found != images.end() && found->second->kind == kind) {
    const auto image = found->second;
    if (image->is_busy) return busy(id);
    if (kind == Kind::volume) IRONCORE_CHECK(check_closed(*image));
    if (kind == Kind::base && image->is_whole) {
      if (const auto users = dependents(image); !users.empty()) {
        return Error(ErrorCode::wrong_state, std::to_string(users.size()) + " images depend on " +
                                                 image->digest.to_text() + ", one of them " + text(users[0]->id));
      }
    }
    image->is_whole = false;  // from here on only to be removed
    IRONCORE_CHECK(steps.next());
    drop(image);
  }
  return steps.end();
}

Result<void> BlockStore::State::copy(std::unique_lock<std::mutex>& lock, Image& into, std::uint64_t size,
                                     const Progress& progress, const std::stop_token& stop, const Chunk& chunk) {
  into.is_busy = true;
  const struct Idle {
    Image& image;
    std::unique_lock<std::mutex>& lock;
    ~Idle() {
      if (!lock.owns_lock()) lock.lock();
      image.is_busy = false;
    }
  } idle{into, lock};
  const Error cancelled(ErrorCode::cancelled, "stopped while data was copied: call again to go on");
  for (std::uint64_t done = 0; done < size;) {
    lock.unlock();
    const std::uint64_t length = std::min(chunk_bytes, size - done);
    if (stop.stop_requested()) return cancelled;
    if (options.copy_per_mib > Duration{0} && !sleep_for(clock, options.copy_per_mib, stop)) return cancelled;
    IRONCORE_CHECK(chunk(done, length));
    done += length;
    if (progress) progress({done, size});
    lock.lock();
    if (!is_connected) return Error(ErrorCode::unavailable, "the store does not answer");
  }
  return {};
}

std::shared_ptr<BlockStore::Client> BlockStore::State::new_client(std::string_view host) {
  auto client = std::make_shared<Client>();
  const auto number = std::to_string(++last_client);
  client->name.address = "127.0.0.1:0/" + number;
  client->name.name = "client." + number + " of " + std::string(host);
  return client;
}

const BlockStore::State::Secret& BlockStore::State::current(const std::string& tenant) {
  auto& has = tenants[tenant];
  if (has.secrets.empty()) add_secret(tenant);
  return has.secrets.back();
}

void BlockStore::State::add_secret(const std::string& tenant) {
  auto& has = tenants[tenant];
  const auto name = tenant + "-" + std::to_string(++has.last);
  has.secrets.push_back({name, base64_encode(crypto::sha256("key of " + name).bytes().first(16))});
}

void BlockStore::State::release(std::unique_lock<std::mutex>& lock, const Data* only) {
  for (;;) {
    const auto next = std::ranges::find_if(held, [&](const Held& one) { return only == nullptr || one.data == only; });
    if (next == held.end()) return;
    const Held one = std::move(*next);
    held.erase(next);
    one.data->begins();
    const auto result = one.operation();
    lock.unlock();
    one.done(result);
    lock.lock();
    one.data->ends();
    ended.notify_all();
  }
}

std::vector<storage::Client> BlockStore::State::openers(const Image& image, const Client* except) const {
  std::vector<storage::Client> all;
  for (const auto* data : open) {
    if (&data->image() != &image || data->is_cut_off() || &data->client() == except) continue;
    if (std::ranges::find(all, data->client().name) == all.end()) all.push_back(data->client().name);
  }
  std::ranges::sort(all, {}, &storage::Client::address);
  return all;
}

Result<void> BlockStore::State::check_closed(const Image& image) const {
  std::string who;
  for (const auto& client : openers(image, nullptr)) {
    who += (who.empty() ? "" : ", ") + client.address + " (" + client.name + ")";
  }
  if (who.empty()) return {};
  return Error(ErrorCode::wrong_state, text(image.id) + " is open: detach it from " + who);
}

Result<std::unique_ptr<storage::BlockData>> BlockStore::State::open_image(const ImagePtr& image,
                                                                          const std::optional<EncryptionKey>& key,
                                                                          const std::shared_ptr<Client>& client) {
  IRONCORE_CHECK(check_key(*image, key));
  return std::unique_ptr<storage::BlockData>(std::make_unique<Data>(shared_from_this(), image, seed_of(key), client));
}

}  // namespace ironcore::sim
