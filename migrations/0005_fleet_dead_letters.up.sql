-- The archive of dead letters: what was refused or given up, why, and what an operator did about it.
-- Everything that the letter says of itself is as claimed; only `genuine` is proven.
CREATE TABLE IF NOT EXISTS `wafleet_dead_letters` (
    `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    -- SHA-256 of the whole letter: one that the broker delivers twice is archived once.
    `fingerprint` BINARY(32) NOT NULL,
    `at` DATETIME(3) NOT NULL,
    `archived_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    `reason` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `detail` VARCHAR(512) NULL,
    -- 1 when the signature was verified as it was archived.
    `genuine` TINYINT(1) NOT NULL DEFAULT 0,
    `workspace_id` BIGINT UNSIGNED NULL,
    `session_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    `command_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    `type` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    `exchange` VARCHAR(128) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `routing_key` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- message_id, type, content_type and priority, as they came.
    `properties` JSON NOT NULL,
    -- The letter's own headers, as they came.
    `headers` JSON NOT NULL,
    -- What the broker noted about it (x-death), or NULL.
    `history` JSON NULL,
    -- NULL when it was longer than a message may be.
    `body` MEDIUMBLOB NULL,
    `body_bytes` BIGINT UNSIGNED NOT NULL,
    `body_sha256` BINARY(32) NOT NULL,
    -- The worker that gave up; NULL when the broker did.
    `worker` VARCHAR(128) NULL,
    -- new | replayed | dropped
    `state` VARCHAR(16) NOT NULL DEFAULT 'new',
    -- Written before a replay is published, so that an interrupted one goes on as the same message.
    `replay_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    `replay_issued_at` DATETIME(3) NULL,
    `replay_expires_at` DATETIME(3) NULL,
    -- How often a replay was prepared.
    `replays` INT UNSIGNED NOT NULL DEFAULT 0,
    -- When, by whom and why it was replayed or dropped.
    `settled_at` DATETIME(3) NULL,
    `settled_by` VARCHAR(128) NULL,
    `settled_why` VARCHAR(512) NULL,
    -- After this moment the row may be deleted.
    `purge_after` DATETIME(3) NOT NULL,
    PRIMARY KEY (`id`),
    UNIQUE KEY `wafleet_dead_letters_fingerprint_unique` (`fingerprint`),
    KEY `wafleet_dead_letters_state_id_index` (`state`, `id`),
    KEY `wafleet_dead_letters_session_id_index` (`session_id`),
    KEY `wafleet_dead_letters_reason_index` (`reason`),
    -- The ledger asks by this whether a letter of a command is still here.
    KEY `wafleet_dead_letters_workspace_id_command_id_index` (`workspace_id`, `command_id`),
    KEY `wafleet_dead_letters_purge_after_index` (`purge_after`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';
