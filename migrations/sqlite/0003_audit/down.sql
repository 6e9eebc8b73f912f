DROP INDEX sessions_live;
DROP TABLE audit_events;
