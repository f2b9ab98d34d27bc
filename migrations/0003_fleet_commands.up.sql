-- The ledger that makes a command run at most once. A row outlives the command's own expiry (purge_after),
-- so a captured message meets either its row or its expiry, never a blank page.
CREATE TABLE IF NOT EXISTS `wafleet_commands` (
    `command_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    `session_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `type` VARCHAR(64) NOT NULL,
    `key_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- The same id with another body is an attack or a bug, never a redelivery.
    `body_sha256` BINARY(32) NOT NULL,
    -- accepted | attempting | succeeded | failed | unknown | expired
    `state` VARCHAR(16) NOT NULL DEFAULT 'accepted',
    `fence` BIGINT UNSIGNED NOT NULL DEFAULT 0,
    `attempt` INT UNSIGNED NOT NULL DEFAULT 0,
    `message_key` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL,
    `reference` VARCHAR(255) NULL,
    `result` JSON NULL,
    `metadata` JSON NULL,
    `issued_at` DATETIME(3) NOT NULL,
    `expires_at` DATETIME(3) NOT NULL,
    `purge_after` DATETIME(3) NOT NULL,
    `created_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    `updated_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    -- A command id is unique within its workspace: one tenant can neither block nor probe another's ids.
    PRIMARY KEY (`workspace_id`, `command_id`),
    KEY `wafleet_commands_session_id_state_index` (`session_id`, `state`),
    KEY `wafleet_commands_purge_after_index` (`purge_after`),
    KEY `wafleet_commands_message_key_index` (`message_key`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';
