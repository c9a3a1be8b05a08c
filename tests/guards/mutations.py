"""The guards of the promise, each with the change that takes it out and the test that must then be red."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Mutation:
    """One guard taken out of a copy of the sources."""

    guard: str
    file: str
    #: Stands exactly once in the file.
    old: str
    new: str
    #: The node id of a test that is green with the guard.
    test: str


MUTATIONS = (
    Mutation(
        guard="an outcome is written only under the epoch of its own claim",
        file="service/gateways/store/batches.py",
        old="WHERE id = $1 AND epoch = $2 AND state = 'sending'",
        new="WHERE id = $1 AND epoch > $2::integer - 1000 AND state = 'sending'",
        test="tests/gateways/store/test_progress.py::test_a_settlement_under_an_old_epoch_writes_nothing",
    ),
    Mutation(
        guard="an outcome is written once",
        file="service/gateways/store/batches.py",
        old="WHERE id = $1 AND epoch = $2 AND state = 'sending'",
        new="WHERE id = $1 AND epoch = $2",
        test="tests/gateways/store/test_progress.py::test_a_settlement_is_written_once",
    ),
    Mutation(
        guard="an expired lease means in doubt, not send again",
        file="service/gateways/store/expiring.py",
        old="state = 'in_doubt', epoch = epoch + 1, lease_expires_at = NULL",
        new="state = 'sealed', epoch = epoch + 1, lease_expires_at = NULL",
        test="tests/main_job/test_reconcile.py::test_the_batch_of_a_killed_worker_is_settled",
    ),
    Mutation(
        guard="the lease is checked right before the write",
        file="service/gateways/vendor/gate.py",
        old="if time.monotonic() >= self._deadline:",
        new="if time.monotonic() >= self._deadline + 3600:",
        test="tests/gateways/vendor/test_gate.py::test_a_gate_refuses_a_late_request",
    ),
    Mutation(
        guard="a doubt is looked into only after the settle time",
        file="service/core/verdict.py",
        old="        delay=policy.settle,\n",
        new="        delay=timedelta(0),\n",
        test="tests/core/test_verdict.py::test_what_is_in_doubt_waits_for_the_lists",
    ),
    Mutation(
        guard="absence is seen twice before anything is sent again",
        file="service/core/reconciling.py",
        old="if standing.absent_for is None or standing.absent_for < needed:",
        new="if standing.absent_for is None and standing.in_doubt_for < timedelta(0):",
        test="tests/main_job/test_reconcile.py::test_a_package_that_was_not_made_is_sent_again_under_its_name",
    ),
    Mutation(
        guard="absence that ends a request is seen for long",
        file="service/core/reconciling.py",
        old="needed = max(policy.recheck, policy.patience)",
        new="needed = policy.recheck",
        test="tests/faults/test_late_effect.py::test_what_shows_late_is_found_before_a_batch_without_tries_fails",
    ),
    Mutation(
        guard="a claim whose commit was not answered is read back",
        file="service/flow/batch.py",
        old="return await unknown_commits.is_claimed(connection, batch, worker=deps.worker_name)",
        new="return False",
        test="tests/faults/test_commit_unknown.py::test_an_unknown_commit_of_a_claim_is_found_out",
    ),
    Mutation(
        guard="an item that is packaged is not absent",
        file="service/core/reconciling.py",
        old="    if packaged:\n",
        new="    if packaged and gone and not is_complete:\n",
        test="tests/core/test_reconciling.py",
    ),
    Mutation(
        guard="a no after a doubt counts only after proof",
        file="service/core/verdict.py",
        old="return _doubted_no(outcome, policy) if was_in_doubt else _no(outcome, items)",
        new="return _no(outcome, items if was_in_doubt else items)",
        test="tests/core/test_verdict.py::test_a_no_after_a_doubt_is_not_taken_at_its_word",
    ),
    Mutation(
        guard="a part of one item has the doubts of the batch that it was parted from",
        file="service/gateways/store/batches.py",
        old="CASE item_count WHEN 1 THEN parent_id END AS parent_id",
        new="NULL::uuid AS parent_id",
        test="tests/gateways/store/test_splitting.py::test_a_part_of_one_item_is_claimed_with_the_doubts_that_it_comes_from",
    ),
    Mutation(
        guard="an item that may be in a package of ours is not at fault for being packaged",
        file="service/flow/split.py",
        old="may_be_ours=refusal.was_in_doubt",
        new="may_be_ours=False",
        test="tests/flow/test_split.py::test_after_a_doubt_a_packaged_item_is_not_at_fault",
    ),
    Mutation(
        guard="attempts that are used up after a doubt fail nothing before proof",
        file="service/core/verdict.py",
        old="return _looked_up_first(verdict, policy) if was_in_doubt else verdict",
        new="return verdict",
        test="tests/core/test_verdict.py::test_a_last_call_that_was_not_sent_after_a_doubt_fails_nothing",
    ),
    Mutation(
        guard="calls that gather between permit and write are spaced once more",
        file="service/gateways/limiter/write.lua",
        old="if wait > 0 then return wait end",
        new="",
        test="tests/gateways/test_permits.py::test_calls_that_gather_after_their_permits_are_spaced_when_written",
    ),
    Mutation(
        guard="a call that was stopped after its permit is not written",
        file="service/gateways/vendor/gate.py",
        old="self.was_held = await self._is_held()",
        new="self.was_held = False",
        test="tests/flow/test_release.py::test_a_call_is_not_made_that_was_stopped_after_its_permit",
    ),
    Mutation(
        guard="a pending item has one live holder",
        file="migrations/0001_release_requests.sql",
        old="CREATE UNIQUE INDEX release_items_one_live_holder",
        new="CREATE INDEX release_items_one_live_holder",
        test="tests/gateways/store/test_progress.py::test_two_live_holders_are_refused_by_the_database",
    ),
    Mutation(
        guard="done is done",
        file="service/gateways/store/progress.py",
        old="    WHERE r.id = d.request_id AND r.finished_at IS NULL\n",
        new="    WHERE r.id = d.request_id\n",
        test="tests/gateways/store/test_progress.py::test_a_request_that_is_done_stays_as_it_is",
    ),
    Mutation(
        guard="a lost answer to a commit is looked up, not reported as failed",
        file="service/flow/accept_group.py",
        old="own = await accepting.find_created(connection, [request.request_id for request in requests])",
        new="own = await accepting.find_created(connection, [])",
        test="tests/doors/test_outages.py::test_a_lost_answer_to_a_commit_is_found_out",
    ),
    Mutation(
        guard="another applicant's item is a conflict",
        file="service/flow/accept_group.py",
        old="    return (holder.apply_user_id, holder.approver_ids) == (key.apply_user_id, key.approver_ids)",
        new="    return bool(holder.apply_user_id and holder.approver_ids and key.apply_user_id)",
        test="tests/doors/test_same_item.py::test_another_applicant_or_other_approvers_conflict",
    ),
    Mutation(
        guard="the parts of a refused batch hold exactly its items",
        file="service/core/refusal.py",
        old="return Split(bad={}, groups=(rest[:middle], rest[middle:]))",
        new="return Split(bad={}, groups=(rest[:middle], rest[middle + 1 :]))",
        test="tests/core/test_refusal.py::test_halving_finds_exactly_the_bad_items_within_the_bound",
    ),
    Mutation(
        guard="a limiter without memory gets its breakers back before it gives a permit",
        file="service/gateways/limiter_birth.py",
        old="_put_back_breaker(pipeline, keys, breaker)",
        new="pass",
        test="tests/gateways/test_permits.py::test_open_breakers_survive_the_loss_of_redis",
    ),
    Mutation(
        guard="calls under way count in a limiter without memory",
        file="service/gateways/limiter_birth.py",
        old="    for call in calls:\n",
        new="    for call in calls[:0]:\n",
        test="tests/gateways/test_limiter_memory.py::test_calls_under_way_are_counted_by_a_limiter_without_memory",
    ),
    Mutation(
        guard="a permit of a lost memory is void",
        file="service/gateways/limiter/write.lua",
        old="if not is_born(KEYS[9]) or ends <= now then return NEVER end",
        new="",
        test="tests/gateways/test_limiter_memory.py::test_a_permit_of_a_lost_memory_is_void",
    ),
    Mutation(
        guard="an open breaker lets one probe through at a time",
        file="service/gateways/limiter/ask.lua",
        old="if number(key, 'probe_until') > now then",
        new="if number(key, 'probe_until') > 2 * now then",
        test="tests/gateways/test_permits.py::test_an_open_breaker_lets_one_probe_through_after_ever_longer_pauses",
    ),
    Mutation(
        guard="a call that we give up is no failure of the vendor's",
        file="service/gateways/limits.py",
        old="case InDoubt(is_cut_off=False) | NotSent(",
        new="case InDoubt() | NotSent(",
        test="tests/main_job/test_outages.py::test_calls_that_are_given_up_open_no_breaker",
    ),
    Mutation(
        guard="pauses grow",
        file="service/core/backoff.py",
        old="uniform(longest / 2, longest)",
        new="uniform(0, longest)",
        test="tests/core/test_verdict.py::test_the_pauses_of_a_failing_batch_grow_and_are_spread",
    ),
    Mutation(
        guard="no try is planned for after the maximum age",
        file="service/core/verdict.py",
        old="self.age + after < self.max_age",
        new="self.age < self.max_age + after * 0",
        test="tests/core/test_verdict.py::test_a_failed_try_of_an_old_batch_was_its_last",
    ),
    Mutation(
        guard="packages of ours under the same name are no decoys",
        file="service/flow/looks.py",
        old="and package.package_id not in doubt.siblings",
        new="and package.package_id not in ()",
        test="tests/main_job/test_reconcile.py::test_packages_of_one_request_are_no_decoys_of_each_other",
    ),
    Mutation(
        guard="a split is written only by who was lent the batch",
        file="service/gateways/store/splitting.py",
        old="WHERE id = $1 AND epoch = $2 AND state = 'refused'\n    RETURNING id",
        new="WHERE id = $1 AND epoch >= $2\n    RETURNING id",
        test="tests/gateways/store/test_splitting.py::test_a_batch_is_parted_once",
    ),
    Mutation(
        guard="an operator decides only about what needs a decision",
        file="service/flow/resolve.py",
        old="if batch.state is not BatchState.NEEDS_ATTENTION or attempt is None:",
        new="if attempt is None:",
        test="tests/doors/test_resolve.py::test_only_a_batch_that_waits_can_be_resolved",
    ),
    Mutation(
        guard="an operator decides only in own workspaces",
        file="service/gateways/store/resolving.py",
        old="WHERE b.id = $1 AND b.project_id || '/' || b.workspace LIKE ANY($2::text[])",
        new="WHERE b.id = $1 AND $2::text[] IS NOT NULL",
        test="tests/doors/test_resolve.py::test_an_operator_decides_in_own_workspaces",
    ),
    Mutation(
        guard="a decision whose commit was not answered finds itself",
        file="service/flow/resolve.py",
        old="if not await resolving.is_resolved_by(",
        new="if batch is not None or not await resolving.is_resolved_by(",
        test="tests/doors/test_resolve.py::test_a_decision_whose_commit_is_unknown_is_made_once",
    ),
    Mutation(
        guard="an operator gives no package to a second batch",
        file="service/flow/resolve.py",
        old="if owner is not None:",
        new="if owner == batch.batch_id:",
        test="tests/doors/test_resolve.py::test_a_package_belongs_to_one_batch",
    ),
    Mutation(
        guard="what cannot be listed as a reject stays on the queue",
        file="service/gateways/queue_worker.py",
        old="            log.warning(LogEvent.ACCEPT_RETRIED, reason=str(error))\n            return False\n",
        new="            log.warning(LogEvent.ACCEPT_RETRIED, reason=str(error))\n",
        test="tests/doors/test_rejects.py::test_what_cannot_be_listed_stays_on_the_queue",
    ),
    Mutation(
        guard="the last places are given away by one process at a time",
        file="service/flow/waiting_room.py",
        old="        await waiting.lock_last_places(connection)\n",
        new="",
        test="tests/doors/test_caps.py::test_two_processes_give_the_last_places_away_once",
    ),
    Mutation(
        guard="a known key is judged before the room",
        file="service/flow/waiting_room.py",
        old="new = await _find_new(connection, requests)",
        new="new = list(requests)",
        test="tests/doors/test_caps.py::test_a_known_key_is_answered_however_much_waits",
    ),
    Mutation(
        guard="headers have a deadline",
        file="service/doors/connection.py",
        old="        elif self._late is None:\n",
        new="        elif self._late is not None:\n",
        test="tests/doors/test_hostile_http.py::test_headers_that_do_not_end_are_given_up",
    ),
    Mutation(
        guard="who does not take answers is cut off",
        file="service/doors/connection.py",
        old="self._loop.call_later(self._deadlines.answer, self._abort)",
        new="self._loop.call_later(1_000 * self._deadlines.answer, self._abort)",
        test="tests/doors/test_hostile_http.py::test_who_does_not_take_answers_is_cut_off",
    ),
    Mutation(
        guard="a body is asked for only when it is wanted",
        file="service/doors/server.py",
        old='for value in headers.popall("Expect")]',
        new='for value in headers.getall("Expect")]',
        test="tests/doors/test_hostile_http.py::test_a_body_is_not_asked_for_before_the_key_is_seen",
    ),
    Mutation(
        guard="who would wait for long is told at once",
        file="service/flow/group_commit.py",
        old="self._wait_of_a_newcomer() > _LONGEST_WAIT_SECONDS",
        new="self._wait_of_a_newcomer() > 1_000 * _LONGEST_WAIT_SECONDS",
        test="tests/doors/test_overload.py::test_who_would_wait_for_long_is_refused_at_once",
    ),
    Mutation(
        guard="reads leave connections to those who hand in",
        file="service/gateways/store/database.py",
        old="pool.get_max_size() - _NOT_FOR_READS",
        new="pool.get_max_size() + _NOT_FOR_READS",
        test="tests/doors/test_overload.py::test_those_who_look_do_not_keep_others_from_handing_in",
    ),
)
