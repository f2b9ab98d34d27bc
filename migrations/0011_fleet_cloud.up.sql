-- Numbers at Meta's Cloud API, which sessions send by them, and who carried a message.
--
-- Every statement may run again: a column that is there already is not added twice.

CREATE TABLE IF NOT EXISTS `wafleet_cloud_numbers` (
    -- Meta's id of the number, not its digits.
    `number_id` VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    -- Messages a second that Meta allows: 80, or 20 for a number that is used in the WhatsApp Business app as well.
    `per_second` INT UNSIGNED NOT NULL,
    -- The key of the profile key ring that seals the token, and the sealed token.
    `key_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `token` VARBINARY(4096) NOT NULL,
    `token_set_at` DATETIME(3) NOT NULL,
    `created_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    `updated_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    PRIMARY KEY (`number_id`),
    KEY `wafleet_cloud_numbers_workspace_id_index` (`workspace_id`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';

CREATE TABLE IF NOT EXISTS `wafleet_cloud_bindings` (
    `session_id` VARCHAR(64) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    `number_id` VARCHAR(32) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    -- session: the session is this number and has no browser | failover: the number helps out.
    `role` VARCHAR(16) NOT NULL,
    -- Away for so long, a session fails over; NULL: never for that reason.
    `after_secs` INT UNSIGNED NULL,
    -- Whether a definite refusal of the browser's leads to another try by the number.
    `on_refusal` TINYINT(1) NOT NULL DEFAULT 0,
    -- auto | web | cloud, as `session.provider` says.
    `chosen` VARCHAR(8) NOT NULL DEFAULT 'auto',
    `created_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    `updated_at` DATETIME(3) NOT NULL DEFAULT (UTC_TIMESTAMP(3)),
    PRIMARY KEY (`session_id`),
    KEY `wafleet_cloud_bindings_number_id_index` (`number_id`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';

SET @wafleet_ddl = (
    SELECT IF(COUNT(*) > 0, 'DO 0', CONCAT(
        'ALTER TABLE `wafleet_commands` ',
        -- web | cloud: by whom it was attempted. An open attempt is never gone on with by the other.
        'ADD COLUMN `provider` VARCHAR(8) NULL, ',
        -- The highest ack that was told of a message the Cloud API carried.
        'ADD COLUMN `cloud_ack` TINYINT NULL'
    ))
    FROM information_schema.COLUMNS
    WHERE TABLE_SCHEMA = DATABASE() AND TABLE_NAME = 'wafleet_commands' AND COLUMN_NAME = 'provider'
);
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;
