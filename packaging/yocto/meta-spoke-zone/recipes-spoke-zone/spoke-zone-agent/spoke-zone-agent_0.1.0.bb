# Builds the agent from the release archive, which holds vendor/.
require spoke-zone-agent.inc
require spoke-zone-agent-licenses.inc

SRC_URI = "${SPOKE_ZONE_SOURCE}"
GO_IMPORT = "github.com/spoke-zone/spoke-zone-agent"

inherit go

# One program: no shared Go runtime, and no path to one, on the target.
GO_LINKSHARED = ""
GO_RPATH = ""
GO_RPATH_LINK = ""

do_configure[noexec] = "1"

do_compile() {
    cd ${S}
    export TMPDIR="${GOTMPDIR}" GOTOOLCHAIN="local" GOFLAGS="-mod=vendor -buildvcs=false -tags=nethttpomithttp2 -gcflags=all=-l"
    ${GO} build ${GOBUILDFLAGS} -o ${B}/spoke-zone-agent ./cmd/spoke-zone-agent
}

# The program tells its version, and takes no time before that of its source for true.
do_compile[prefuncs] += "spoke_zone_stamp"
python spoke_zone_stamp() {
    d.appendVar('GO_EXTRA_LDFLAGS', ' -X main.version=%s -X main.built=%s' % (d.getVar('PV').replace('~', '-'), d.getVar('SOURCE_DATE_EPOCH') or ''))
}

do_install() {
    install -Dm 0755 ${B}/spoke-zone-agent ${D}${bindir}/spoke-zone-agent
    install -Dm 0644 ${S}/conf/agent.conf ${D}${sysconfdir}/spoke-zone-agent/agent.conf
    install -Dm 0644 ${S}/conf/install.conf ${D}${sysconfdir}/spoke-zone-agent/install.conf
    install -d -m 0755 ${D}${sysconfdir}/spoke-zone-agent/agent.conf.d ${D}${sysconfdir}/spoke-zone-agent/hooks.d ${D}${sysconfdir}/spoke-zone-agent/keys
    install -Dm 0644 ${S}/systemd/spoke-zone-agent.service ${D}${systemd_system_unitdir}/spoke-zone-agent.service
    install -m 0644 ${S}/systemd/spoke-zone-install.service ${D}${systemd_system_unitdir}/
    install -m 0644 ${S}/systemd/spoke-zone-install.path ${D}${systemd_system_unitdir}/
    install -m 0644 ${S}/systemd/spoke-zone-guard.service ${D}${systemd_system_unitdir}/
    install -m 0644 ${S}/systemd/spoke-zone-guard.timer ${D}${systemd_system_unitdir}/
    install -Dm 0644 ${S}/systemd/spoke-zone-agent.sysusers.conf ${D}${nonarch_libdir}/sysusers.d/spoke-zone-agent.conf
    install -Dm 0644 ${S}/systemd/spoke-zone-agent.tmpfiles.conf ${D}${nonarch_libdir}/tmpfiles.d/spoke-zone-agent.conf
    install -Dm 0755 ${S}/packaging/hooks/dpkg ${D}${nonarch_libdir}/spoke-zone-agent/hooks/dpkg
    install -Dm 0755 ${S}/packaging/hooks/file ${D}${nonarch_libdir}/spoke-zone-agent/hooks/file
    install -Dm 0755 ${S}/packaging/hooks/rauc ${D}${nonarch_libdir}/spoke-zone-agent/hooks/rauc
    install -Dm 0755 ${S}/packaging/hooks/swupdate ${D}${nonarch_libdir}/spoke-zone-agent/hooks/swupdate
    install -Dm 0644 ${S}/packaging/hooks/lib.sh ${D}${nonarch_libdir}/spoke-zone-agent/hooks/lib.sh
    install -d ${D}${docdir}/spoke-zone-agent/examples ${D}${mandir}/man5 ${D}${mandir}/man7 ${D}${mandir}/man8
    install -m 0644 ${S}/systemd/examples/* ${D}${docdir}/spoke-zone-agent/examples/
    install -m 0644 ${S}/docs/man/*.5 ${D}${mandir}/man5/
    install -m 0644 ${S}/docs/man/*.7 ${D}${mandir}/man7/
    install -m 0644 ${S}/docs/man/*.8 ${D}${mandir}/man8/
    spoke_zone_place_state
}

python () {
    release = (d.getVar('GOVERSION') or '').rstrip('%').split('.')
    if len(release) >= 2 and int(release[1]) < 25:
        raise bb.parse.SkipRecipe('needs Go 1.25 or newer: add the Go layer of meta-lts-mixins, or use spoke-zone-agent-bin')
}
