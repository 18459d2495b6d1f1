DROP TABLE purged_tasks;
DROP TABLE responses;
DROP TABLE tasks;
DROP TABLE endpoints;
