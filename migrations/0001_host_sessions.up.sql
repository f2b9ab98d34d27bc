-- The host-facing table `whatsapp_sessions`: what the Laravel application shows of a session.
--
-- A host application that already has the table keeps it and its rows: the status column is widened
-- so that every status of the fleet fits, and columns the fleet writes are added where they are missing.
-- Otherwise the table is created here. What is created here carries a comment, and the down migration
-- touches nothing without that comment.
--
-- Every statement may run again: DDL commits on its own in MySQL, so a migration that failed half-way is repeated whole.

SET SESSION group_concat_max_len = 65536;

CREATE TABLE IF NOT EXISTS `whatsapp_sessions` (
    `id` BIGINT UNSIGNED NOT NULL AUTO_INCREMENT,
    `uuid` CHAR(36) NOT NULL,
    `workspace_id` BIGINT UNSIGNED NOT NULL,
    -- Session ids differ by case, so the unique key must tell cases apart.
    `session_id` VARCHAR(255) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin NOT NULL,
    `phone_number` VARCHAR(50) NULL,
    `provider_type` VARCHAR(32) NOT NULL DEFAULT 'webjs',
    `status` VARCHAR(32) NOT NULL DEFAULT 'initializing',
    `status_since` DATETIME(3) NULL,
    `status_cause` VARCHAR(64) NULL,
    -- The QR as the string a phone scans, never as a picture.
    `qr_code` TEXT NULL,
    `qr_expires_at` DATETIME(3) NULL,
    `session_data` LONGTEXT NULL,
    `is_primary` TINYINT(1) NOT NULL DEFAULT 0,
    `is_active` TINYINT(1) NOT NULL DEFAULT 1,
    `last_activity_at` DATETIME(3) NULL,
    `last_connected_at` DATETIME(3) NULL,
    `health_score` TINYINT UNSIGNED NULL,
    `metadata` JSON NULL,
    -- Nullable: an employee who leaves must not take the company's number along.
    `created_by` BIGINT UNSIGNED NULL,
    `created_at` DATETIME(3) NULL,
    `updated_at` DATETIME(3) NULL,
    `deleted_at` DATETIME(3) NULL,
    PRIMARY KEY (`id`),
    UNIQUE KEY `whatsapp_sessions_uuid_unique` (`uuid`),
    UNIQUE KEY `whatsapp_sessions_session_id_unique` (`session_id`),
    KEY `whatsapp_sessions_workspace_id_status_index` (`workspace_id`, `status`),
    KEY `whatsapp_sessions_session_id_status_index` (`session_id`, `status`),
    KEY `whatsapp_sessions_provider_type_is_active_index` (`provider_type`, `is_active`),
    KEY `whatsapp_sessions_workspace_id_is_primary_index` (`workspace_id`, `is_primary`)
) ENGINE = InnoDB DEFAULT CHARSET = utf8mb4 COLLATE = utf8mb4_unicode_ci COMMENT = 'created by wafleet';

-- Foreign keys of a table of ours to the host's tables, only to those that exist and whose key has our type.
SET @wafleet_ddl = (
    SELECT 'ALTER TABLE `whatsapp_sessions` ADD CONSTRAINT `whatsapp_sessions_workspace_id_foreign` FOREIGN KEY (`workspace_id`) REFERENCES `workspaces` (`id`) ON DELETE CASCADE'
    FROM information_schema.TABLES AS ours
    JOIN information_schema.TABLES AS host ON host.TABLE_SCHEMA = ours.TABLE_SCHEMA
    JOIN information_schema.COLUMNS AS parent ON parent.TABLE_SCHEMA = host.TABLE_SCHEMA AND parent.TABLE_NAME = host.TABLE_NAME
    WHERE ours.TABLE_SCHEMA = DATABASE() AND ours.TABLE_NAME = 'whatsapp_sessions' AND ours.TABLE_COMMENT = 'created by wafleet'
        AND host.TABLE_NAME = 'workspaces' AND host.ENGINE = 'InnoDB'
        AND parent.COLUMN_NAME = 'id' AND parent.COLUMN_KEY = 'PRI' AND parent.DATA_TYPE = 'bigint' AND parent.COLUMN_TYPE LIKE '%unsigned%'
        AND NOT EXISTS (
            SELECT 1 FROM information_schema.TABLE_CONSTRAINTS AS made
            WHERE made.TABLE_SCHEMA = DATABASE() AND made.TABLE_NAME = 'whatsapp_sessions'
                AND made.CONSTRAINT_NAME = 'whatsapp_sessions_workspace_id_foreign'
        )
);
SET @wafleet_ddl = COALESCE(@wafleet_ddl, 'DO 0');
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;

SET @wafleet_ddl = (
    SELECT 'ALTER TABLE `whatsapp_sessions` ADD CONSTRAINT `whatsapp_sessions_created_by_foreign` FOREIGN KEY (`created_by`) REFERENCES `users` (`id`) ON DELETE SET NULL'
    FROM information_schema.TABLES AS ours
    JOIN information_schema.TABLES AS host ON host.TABLE_SCHEMA = ours.TABLE_SCHEMA
    JOIN information_schema.COLUMNS AS parent ON parent.TABLE_SCHEMA = host.TABLE_SCHEMA AND parent.TABLE_NAME = host.TABLE_NAME
    WHERE ours.TABLE_SCHEMA = DATABASE() AND ours.TABLE_NAME = 'whatsapp_sessions' AND ours.TABLE_COMMENT = 'created by wafleet'
        AND host.TABLE_NAME = 'users' AND host.ENGINE = 'InnoDB'
        AND parent.COLUMN_NAME = 'id' AND parent.COLUMN_KEY = 'PRI' AND parent.DATA_TYPE = 'bigint' AND parent.COLUMN_TYPE LIKE '%unsigned%'
        AND NOT EXISTS (
            SELECT 1 FROM information_schema.TABLE_CONSTRAINTS AS made
            WHERE made.TABLE_SCHEMA = DATABASE() AND made.TABLE_NAME = 'whatsapp_sessions'
                AND made.CONSTRAINT_NAME = 'whatsapp_sessions_created_by_foreign'
        )
);
SET @wafleet_ddl = COALESCE(@wafleet_ddl, 'DO 0');
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;

-- The host's status column: an ENUM or a narrow column becomes VARCHAR(32); values, default, nullability,
-- collation and comment stay. MariaDB shows a default quoted and a missing one as NULL, MySQL shows it bare.
SET @wafleet_ddl = (
    SELECT CONCAT(
        'ALTER TABLE `whatsapp_sessions` MODIFY COLUMN `status` VARCHAR(32) CHARACTER SET ', status.CHARACTER_SET_NAME,
        ' COLLATE ', status.COLLATION_NAME,
        IF(status.IS_NULLABLE = 'YES', ' NULL', ' NOT NULL'),
        CASE
            WHEN status.COLUMN_DEFAULT IS NULL OR status.COLUMN_DEFAULT = 'NULL' THEN ''
            WHEN LEFT(status.COLUMN_DEFAULT, 1) = '''' THEN CONCAT(' DEFAULT ', status.COLUMN_DEFAULT)
            ELSE CONCAT(' DEFAULT ', QUOTE(status.COLUMN_DEFAULT))
        END,
        ' COMMENT ', QUOTE(status.COLUMN_COMMENT)
    )
    FROM information_schema.COLUMNS AS status
    WHERE status.TABLE_SCHEMA = DATABASE() AND status.TABLE_NAME = 'whatsapp_sessions' AND status.COLUMN_NAME = 'status'
        AND (status.DATA_TYPE = 'enum' OR (status.DATA_TYPE IN ('char', 'varchar') AND status.CHARACTER_MAXIMUM_LENGTH < 32))
);
SET @wafleet_ddl = COALESCE(@wafleet_ddl, 'DO 0');
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;

-- The columns the fleet writes, where the host's table lacks them: one ALTER for all of them.
SET @wafleet_ddl = (
    SELECT CONCAT(
        'ALTER TABLE `whatsapp_sessions` ',
        GROUP_CONCAT(
            'ADD COLUMN `', wanted.name, '` ', wanted.definition, ' COMMENT ''added by wafleet'''
            ORDER BY wanted.position SEPARATOR ', '
        )
    )
    FROM (
        SELECT 1 AS position, 'phone_number' AS name, 'VARCHAR(50) NULL' AS definition
        UNION ALL SELECT 2, 'status_since', 'DATETIME(3) NULL'
        UNION ALL SELECT 3, 'status_cause', 'VARCHAR(64) NULL'
        UNION ALL SELECT 4, 'qr_code', 'TEXT NULL'
        UNION ALL SELECT 5, 'qr_expires_at', 'DATETIME(3) NULL'
        UNION ALL SELECT 6, 'last_activity_at', 'DATETIME(3) NULL'
        UNION ALL SELECT 7, 'last_connected_at', 'DATETIME(3) NULL'
        UNION ALL SELECT 8, 'health_score', 'TINYINT UNSIGNED NULL'
    ) AS wanted
    WHERE NOT EXISTS (
        SELECT 1 FROM information_schema.COLUMNS AS present
        WHERE present.TABLE_SCHEMA = DATABASE() AND present.TABLE_NAME = 'whatsapp_sessions'
            AND CONVERT(present.COLUMN_NAME USING utf8mb4) COLLATE utf8mb4_general_ci = wanted.name
    )
);
SET @wafleet_ddl = COALESCE(@wafleet_ddl, 'DO 0');
PREPARE wafleet_statement FROM @wafleet_ddl;
EXECUTE wafleet_statement;
DEALLOCATE PREPARE wafleet_statement;
