-- Campaigns: which message belongs to which, whether it goes out, who writes to whom, and who wants none.
--
-- Every statement may run again: a column that is there already is not added twice.

SET @wafleet_ddl = (
    SELECT IF(COUNT(*) > 0, 'DO 0', CONCAT(
        'ALTER TABLE `wafleet_commands` ',
        'ADD COLUMN `campaign` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NULL, ',
        'ADD KEY `wafleet_commands_workspace_id_campaign_state_index` (`workspace_id`, `campaign`, `state`)'
    ))
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'wafleet_commands' AND COLUMN_NAME = 'campaign'
);
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;

-- A campaign without a row is running.
CREATE TABLE IF NOT EXISTS `wafleet_campaigns` (
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    `campaign` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- running | paused | cancelled
    `state` VARCHAR(16) NOT NULL DEFAULT 'running',
    `changed_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    PRIMARY KEY (`workspace_id`, `campaign`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';

-- The one session that a workspace's campaigns reach a contact from. The contact is the hash of `wafleet_contacts`.
CREATE TABLE IF NOT EXISTS `wafleet_campaign_contacts` (
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    `contact` BINARY(32) NOT NULL,
    `session_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `created_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    PRIMARY KEY (`workspace_id`, `contact`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';

CREATE TABLE IF NOT EXISTS `wafleet_optouts` (
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    `contact` BINARY(32) NOT NULL,
    `created_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    PRIMARY KEY (`workspace_id`, `contact`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';
