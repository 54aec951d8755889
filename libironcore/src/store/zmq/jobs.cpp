// SPDX-License-Identifier: Apache-2.0
// Lists and replays, in slices.
#include "jobs.hpp"

#include <algorithm>

namespace ironcore::store::zmq {

bool Requests::work() {
  if (jobs_->queue.is_empty()) return false;
  jobs_->queue.step([&](Jobs::Job& job) {
    return std::visit(
        [&](auto& one) {
          if (one.origin.until < clock_.now()) return false;  // nobody waits for it any more
          return work(one);
        },
        job);
  });
  return !jobs_->queue.is_empty();
}

bool Requests::work(ListJob& job) {
  const auto until = clock_.now() + slice_time;
  auto& average = bytes_per_object_.try_emplace(job.query.kind, 1024.0).first->second;
  for (;;) {
    const auto room = options_.page_bytes > job.bytes ? options_.page_bytes - job.bytes : 0;
    const auto fitting = static_cast<std::size_t>(static_cast<double>(room) / average) + 1;
    const auto wanted =
        std::min({fitting, options_.page_objects, std::max<std::size_t>(job.limit - job.texts.size(), 1)});
    // Selectors that no index answers are applied here, so that looking for a needle takes many short slices.
    const auto looked_at =
        job.is_filtered_here ? std::clamp<std::size_t>(job.limit - job.texts.size(), 1, 256) : wanted;
    auto page = store_.list(job.base, {.limit = looked_at, .continue_at = job.continue_at});
    if (!page) {
      answer_error(job.origin, page.error());
      return false;
    }
    // What follows belongs to the next page, also when nothing was found yet: what has begun to match since, where we
    // have looked already, is found by whoever asks for the changes since this page's revision.
    if (job.revision && *job.revision != page->revision) break;
    job.revision = page->revision;
    job.continue_at = page->continue_at;
    for (const auto& object : page->objects) {
      if (job.is_filtered_here && !job.query.matches(object)) continue;
      job.texts.push_back(object.json());
      job.bytes += job.texts.back().size();
      average = 0.95 * average + 0.05 * static_cast<double>(job.texts.back().size());
    }
    if (job.continue_at.empty() || job.bytes >= options_.page_bytes ||
        job.texts.size() >= std::min(job.limit, options_.page_objects))
      break;
    if (clock_.now() >= until) return true;
  }
  ListReply reply;
  reply.epoch = store_.epoch();
  reply.revision = job.revision->value;
  reply.continue_at = job.continue_at;
  reply.objects.assign(job.texts.begin(), job.texts.end());
  answer(job.origin, reply);
  return false;
}

bool Requests::work(ChangesJob& job) {
  const auto until = clock_.now() + slice_time;
  const auto reply_with = [&](bool has_more) {
    ChangesReply reply;
    reply.epoch = store_.epoch();
    reply.through = job.through;
    reply.is_pushed = job.is_pushed;
    reply.has_more = has_more;
    reply.changes.reserve(job.changes.size());
    for (const auto& change : job.changes) reply.changes.push_back({change.type, change.revision, change.json});
    answer(job.origin, reply);
    return false;
  };
  for (;;) {
    auto revision = store_.revision();
    if (!revision) {
      answer_error(job.origin, revision.error());
      return false;
    }
    if (job.through <= revision->value && publisher_.is_unchanged(job.query, job.through)) {
      job.through = revision->value;
      return reply_with(false);
    }
    auto changes = store_.changes(Revision{job.through}, changes_per_slice);
    if (!changes) {
      answer_error(job.origin, changes.error());
      return false;
    }
    for (const auto& change : *changes) {
      job.through = change.revision.value;
      if (&change.object.kind() != job.query.kind) continue;
      const bool is_there = change.type != Change::Type::deleted && job.query.matches(change.object);
      const bool was_there = change.previous && job.query.matches(*change.previous);
      if (!is_there && !was_there) continue;
      const auto type = !is_there ? ChangeType::deleted : was_there ? ChangeType::modified : ChangeType::added;
      job.changes.push_back({type, change.revision.value, change.object.json()});
      job.bytes += job.changes.back().json.size();
      if (job.bytes >= options_.page_bytes || job.changes.size() >= std::min(job.limit, max_list_elements))
        return reply_with(true);
    }
    if (changes->size() < changes_per_slice) {
      job.through = std::max(job.through, revision->value);
      return reply_with(false);
    }
    if (clock_.now() >= until) return true;
  }
}

}  // namespace ironcore::store::zmq
