if [ "$1" = remove ] && [ -z "$DPKG_ROOT" ] && [ -d /run/systemd/system ]; then
    systemctl --system daemon-reload >/dev/null || true
fi

if [ "$1" = purge ] && command -v deb-systemd-helper >/dev/null; then
    for unit in @UNITS@; do
        deb-systemd-helper purge "$unit" >/dev/null || true
    done
fi
