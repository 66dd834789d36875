FROM debian:bookworm-slim
RUN apt-get update && apt-get install --yes --no-install-recommends pgbouncer && rm -rf /var/lib/apt/lists/*
COPY deploy/pgbouncer/pgbouncer.ini /etc/pgbouncer/pgbouncer.ini
# The list of users is made from the environment at each start, so that the password is in no image.
COPY --chmod=0755 deploy/compose/pgbouncer-entrypoint.sh /entrypoint.sh
USER postgres
EXPOSE 6432
ENTRYPOINT ["/entrypoint.sh"]
