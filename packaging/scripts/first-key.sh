    # A gateway without a key serves nobody; one that has keys keeps them.
    systemd-tmpfiles ${DPKG_ROOT:+--root="$DPKG_ROOT"} --create marketprism-gateway.conf
    if [ -z "$DPKG_ROOT" ] && [ ! -e /var/lib/marketprism/gateway/keys.json ]; then
        key=@ADMIN_KEY@
        if (umask 077 && marketprism keys create --admin --label install >"$key.new" 2>/dev/null); then
            mv "$key.new" "$key"
            echo "The first API key, an admin's, is in $key, which only root can read."
        else
            rm -f "$key.new"
            echo 'No API key could be made: marketprism keys create --admin' >&2
        fi
    fi
