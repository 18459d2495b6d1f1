DROP TABLE responses;
DROP TABLE tasks;
DROP TABLE endpoints;
