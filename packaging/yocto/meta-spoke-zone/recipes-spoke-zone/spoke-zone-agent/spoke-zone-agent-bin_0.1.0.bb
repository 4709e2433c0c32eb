# Unpacks our own .deb, a static binary, for releases whose Go is too old for the source.
require spoke-zone-agent.inc
require spoke-zone-agent-licenses.inc

# The texts are in the package, under the names of the licences of the whole.
LIC_FILES_CHKSUM = "file://${COMMON_LICENSE_DIR}/Apache-2.0;md5=89aea4e17d99a7cacdbeed46a0096b10"

SPOKE_ZONE_ARCH = "${@spoke_zone_arch(d)}"
SRC_URI = "${SPOKE_ZONE_DEB}"
COMPATIBLE_HOST = "(arm|aarch64|x86_64).*-linux"

inherit goarch

def spoke_zone_arch(d):
    """Debian's name of the architecture. Our armhf is GOARM 7, armel GOARM 5; being static, neither minds the ABI of calls."""
    arch = d.getVar('TARGET_ARCH')
    if arch == 'arm':
        return 'armhf' if d.getVar('TARGET_GOARM') == '7' else 'armel'
    return {'aarch64': 'arm64', 'x86_64': 'amd64'}.get(arch, 'unsupported')

inherit bin_package

# The .deb has usr/lib/systemd/system; an image without merged /usr wants it elsewhere.
do_install:append() {
    if [ "${systemd_system_unitdir}" != /usr/lib/systemd/system ]; then
        install -d ${D}${systemd_system_unitdir}
        mv ${D}/usr/lib/systemd/system/* ${D}${systemd_system_unitdir}/
        rmdir ${D}/usr/lib/systemd/system ${D}/usr/lib/systemd
    fi
    rm -rf ${D}/usr/share/lintian ${D}/usr/share/zsh ${D}/usr/share/fish ${D}/usr/share/bash-completion
    spoke_zone_place_state
}

RPROVIDES:${PN} = "spoke-zone-agent"
RCONFLICTS:${PN} = "spoke-zone-agent"
INSANE_SKIP:${PN} += "already-stripped ldflags"
