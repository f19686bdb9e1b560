# Run by CPack over the files of the package before it is closed: what Debian has in other places or forms than
# `cmake --install`, and what it wants besides.
set(root "${CPACK_TEMPORARY_DIRECTORY}")
set(usr "${root}${CPACK_PACKAGING_INSTALL_PREFIX}")
set(doc "${usr}/share/doc/walferry")

file(MAKE_DIRECTORY "${root}/etc/walferry") # where the unit looks for configs

file(MAKE_DIRECTORY "${root}/lib" "${usr}/share/zsh/vendor-completions")
file(RENAME "${usr}/lib/systemd" "${root}/lib/systemd")
file(REMOVE "${root}/lib/systemd/.keep")
file(RENAME "${usr}/share/zsh/site-functions/_walferry" "${usr}/share/zsh/vendor-completions/_walferry")
file(REMOVE_RECURSE "${usr}/share/zsh/site-functions")
file(GLOB left "${usr}/lib/*")
if(NOT left)
  file(REMOVE_RECURSE "${usr}/lib")
endif()

file(REMOVE "${doc}/LICENSE")
file(WRITE "${doc}/copyright"
"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: walferry

Files: *
Copyright: 2026 the authors of walferry
License: Apache-2.0
 On Debian systems the full text of the Apache License, version 2.0, is in
 /usr/share/common-licenses/Apache-2.0.
")
file(RENAME "${doc}/CHANGELOG.md" "${doc}/changelog")
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
file(WRITE "${doc}/changelog.Debian"
"walferry (${CPACK_PACKAGE_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium

  * See /usr/share/doc/walferry/changelog.gz.

 -- ${CPACK_PACKAGE_CONTACT}  ${date}
")
foreach(file "${doc}/changelog" "${doc}/changelog.Debian" "${usr}/share/man/man1/walferry.1")
  execute_process(COMMAND gzip -9n "${file}" COMMAND_ERROR_IS_FATAL ANY)
endforeach()
