-- Ownership: what each session should be, what it is, and who may drive it.
-- No foreign key leads to the host's tables: the fleet's bookkeeping survives what the host deletes,
-- and works in a schema of its own.
CREATE TABLE IF NOT EXISTS `wafleet_sessions` (
    `session_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    -- running | stopped
    `desired` VARCHAR(16) NOT NULL DEFAULT 'stopped',
    `status` VARCHAR(32) NOT NULL DEFAULT 'initializing',
    `status_since` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    `cause` VARCHAR(64) NULL,
    `attempt` INT UNSIGNED NOT NULL DEFAULT 0,
    `owner` VARCHAR(128) NULL,
    -- Grows by one at every claim and never shrinks: a write is allowed only WHERE fence <= the writer's own.
    `fence` BIGINT UNSIGNED NOT NULL DEFAULT 0,
    `claimed_at` DATETIME(3) NULL,
    `released_at` DATETIME(3) NULL,
    `phone` VARCHAR(32) NULL,
    `lid` VARCHAR(64) NULL,
    `name` VARCHAR(255) NULL,
    -- Link by a pairing code for this phone, when the session has to be linked.
    `pairing_phone` VARCHAR(16) NULL,
    -- Unix seconds of the newest message whose event the broker has confirmed.
    `watermark` BIGINT UNSIGNED NOT NULL DEFAULT 0,
    `linked_at` DATETIME(3) NULL,
    `created_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    `updated_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    PRIMARY KEY (`session_id`),
    KEY `wafleet_sessions_desired_owner_index` (`desired`, `owner`),
    KEY `wafleet_sessions_workspace_id_index` (`workspace_id`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';
