# The embedded engine in the place of a ClickHouse server, for a machine that cannot pull its image:
#
#   docker build -f deploy/Dockerfile -t tapeline:local . && \
#     docker build -f deploy/embedded-clickhouse.Dockerfile -t clickhouse/clickhouse-server:26.9 .
#
# It has the same users under the same variables, keeps its data in the same folder and speaks the same HTTP interface.
# What it cannot do is in services/embedded_clickhouse/README.md.

ARG TAPELINE_IMAGE=tapeline:local

FROM ${TAPELINE_IMAGE}
USER root
COPY constraints.txt /tmp/
RUN /opt/tapeline/bin/pip install --quiet --no-cache-dir -c /tmp/constraints.txt chdb
RUN mkdir -p /var/lib/clickhouse && chown tapeline /var/lib/clickhouse
USER tapeline
ENV TAPELINE_DATA_DIR=/var/lib/clickhouse \
    TAPELINE_CLICKHOUSE_USER=admin \
    TAPELINE_EMBEDDED_CLICKHOUSE_USERS='{"writer": {"password_env": "CLICKHOUSE_WRITER_PASSWORD", "ddl": false}, "reader": {"password_env": "CLICKHOUSE_READER_PASSWORD", "readonly": true, "max_memory_usage": 2000000000, "max_execution_time": 30}}'
EXPOSE 8123
ENTRYPOINT ["sh", "-c", "TAPELINE_CLICKHOUSE_PASSWORD=$CLICKHOUSE_ADMIN_PASSWORD exec python -m services.embedded_clickhouse"]
CMD []
