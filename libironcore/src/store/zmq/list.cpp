// SPDX-License-Identifier: Apache-2.0
// Lists over several messages, exact although the store goes on being written.
#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>

#include "watch.hpp"

namespace ironcore::store::zmq {

namespace {

using Name = std::pair<std::string, std::string>;
Name name_of(const Object& object) {
  return {object.metadata().namespace_, object.metadata().name};
}

/// Everything, page by page. The pages are of different revisions when somebody writes meanwhile: then the changes since the first page are laid
/// over what was read, which makes it exact at the last of them.
class Listing {
 public:
  Listing(ClientCore& core, const Query& query) : core_(core), query_(query), encoded_(query, core.kinds) {}

  Result<Page> all() {
    for (int attempt = 1;; ++attempt) {
      auto page = attempt_all();
      // So much was written meanwhile that the history does not reach back to our first page.
      if (!page && page.error().code() == ErrorCode::gone && attempt < 5) continue;
      return page;
    }
  }

  Result<Page> page(const ListOptions& options) {
    Page page;
    const std::size_t wanted = options.limit == 0 ? SIZE_MAX : options.limit;
    std::string continue_at = options.continue_at;
    IRONCORE_TRY(channel_, core_.take());
    for (bool is_first = true;; is_first = false) {
      ask(continue_at, options.limit == 0 ? 0 : wanted - page.objects.size());
      IRONCORE_TRY(auto answer, channel_->finish(deadline()));
      IRONCORE_TRY(auto reply, core_.reply<ListReply>(answer));
      core_.saw_epoch(reply.epoch);
      // Slices of one revision make one page; a later slice of another revision belongs to the next page, also when
      // nothing was found yet: the caller follows the changes from the first page's revision on.
      if (!is_first && page.revision.value != reply.revision) break;
      page.revision = Revision{reply.revision};
      IRONCORE_CHECK(decode_into(page.objects, reply.objects));
      continue_at = reply.continue_at;
      if (continue_at.empty() || page.objects.size() >= wanted) break;
    }
    core_.give_back(std::move(channel_));
    page.continue_at = std::move(continue_at);
    return page;
  }

 private:
  Instant deadline() const { return core_.clock.now() + core_.options.timeout; }

  void ask(std::string_view continue_at, std::size_t limit) {
    const ListRequest request{encoded_.record, static_cast<std::uint32_t>(std::min<std::size_t>(limit, UINT32_MAX)),
                              continue_at};
    const auto id = channel_->next_id();
    channel_->start(id, encode(id, milliseconds_until(deadline(), core_.clock), request));
  }

  Result<void> decode_into(std::vector<Object>& objects, const std::vector<Text>& texts) {
    for (const auto text : texts) {
      IRONCORE_TRY(auto object, query_.kind->decode(text));
      objects.push_back(std::move(object));
    }
    return {};
  }

  Result<Page> attempt_all() {
    Page page;
    std::string epoch;
    Revision first;
    IRONCORE_TRY(channel_, core_.take());
    ask({}, 0);
    for (bool is_first = true;; is_first = false) {
      IRONCORE_TRY(auto answer, channel_->finish(deadline()));
      IRONCORE_TRY(auto reply, core_.reply<ListReply>(answer));
      if (is_first) {
        epoch = reply.epoch;
        first = Revision{reply.revision};
      } else if (epoch != reply.epoch) {
        return Error(ErrorCode::gone, "the store was restored from a backup while it was listed");
      }
      page.revision = Revision{reply.revision};
      const bool has_more = !reply.continue_at.empty();
      if (has_more) ask(reply.continue_at, 0);  // the server encodes the next page while we decode this one
      IRONCORE_CHECK(decode_into(page.objects, reply.objects));
      if (!has_more) break;
    }
    core_.saw_epoch(epoch);
    if (page.revision != first) {
      IRONCORE_CHECK(lay_changes_over(page, first, epoch));
    }
    core_.give_back(std::move(channel_));
    return page;
  }

  Result<void> lay_changes_over(Page& page, Revision from, const std::string& epoch) {
    const auto newest_page = page.revision;
    std::map<Name, Object> objects;
    for (auto& object : page.objects) {
      auto name = name_of(object);
      objects.insert_or_assign(std::move(name), std::move(object));
    }
    for (bool has_more = true; has_more || from < newest_page;) {
      const ChangesRequest request{encoded_.record, epoch, from.value, 0};
      const auto id = channel_->next_id();
      channel_->start(id, encode(id, milliseconds_until(deadline(), core_.clock), request));
      IRONCORE_TRY(auto answer, channel_->finish(deadline()));
      IRONCORE_TRY(auto reply, core_.reply<ChangesReply>(answer));
      for (const auto& change : reply.changes) {
        IRONCORE_TRY(auto object, query_.kind->decode(change.json));
        auto name = name_of(object);
        if (change.change == ChangeType::deleted)
          objects.erase(name);
        else
          objects.insert_or_assign(std::move(name), std::move(object));
      }
      from = Revision{reply.through};
      has_more = reply.has_more;
    }
    page.revision = from;
    page.objects.clear();
    page.objects.reserve(objects.size());
    for (auto& [name, object] : objects) page.objects.push_back(std::move(object));
    return {};
  }

  ClientCore& core_;
  const Query& query_;
  const EncodedQuery encoded_;
  std::unique_ptr<Channel> channel_;
};

}  // namespace

Result<Page> list_remote(ClientCore& core, const Query& query, const ListOptions& options) {
  Listing listing(core, query);
  return options.limit == 0 && options.continue_at.empty() ? listing.all() : listing.page(options);
}

}  // namespace ironcore::store::zmq
