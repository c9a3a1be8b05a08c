#!/bin/sh
# Writes the secret files that docker-compose.yml hands to its containers. A file that is there already is kept.
#
# The vendor's key pair is taken from HUAWEICLOUD_SDK_AK and HUAWEICLOUD_SDK_SK; where they are not set, it is the
# emulator's, which opens nothing else. RELEASE_IAM_PASSWORD is for RELEASE_VENDOR_AUTH=token; an empty file is none.
set -eu
umask 077
cd "$(dirname "$0")/secrets"

random() {
    od -An -N24 -tx1 /dev/urandom | tr -d ' \n'
}

keep() {
    [ -e "$1" ] || printf '%s\n' "$2" > "$1"
    # A container's user is not the owner: it may read the file, while the directory keeps everybody else out.
    chmod 444 "$1"
}

chmod 700 .
keep postgres_password "$(random)"
keep grafana_password "$(random)"
keep valkey.conf "requirepass $(random)"
keep RELEASE_DATABASE_URL "postgresql://release:$(cat postgres_password)@postgres:5432/release"
keep RELEASE_REDIS_URL "redis://:$(sed -n 's/^requirepass //p' valkey.conf)@valkey:6379/0"
keep RELEASE_SECRET_KEY "$(head -c 32 /dev/urandom | base64)"
keep HUAWEICLOUD_SDK_AK "${HUAWEICLOUD_SDK_AK:-EMULATORACCESSKEY001}"
keep HUAWEICLOUD_SDK_SK "${HUAWEICLOUD_SDK_SK:-emulator-secret-key-0001}"
keep RELEASE_IAM_PASSWORD "${RELEASE_IAM_PASSWORD:-}"
echo "the secrets are in $(pwd)"
